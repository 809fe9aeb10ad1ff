"""Event sources and chains: how far behind they are, what they cover, and what went wrong last."""

from typing import Any

from b3os.chain.chains import load_chains
from b3os.store.pool import as_org
from b3os.store.source_states import SourceState, list_states
from services.api.house import House
from services.api.wire import Request, time_text


def _shown(state: SourceState) -> dict[str, Any]:
    return {
        "id": state.source,
        "holder": state.holder,
        "lag": state.lag or None,
        "lastError": state.error or None,
        "lastErrorAt": time_text(state.error_at),
        "updatedAt": time_text(state.told_at),
    }


async def sources(house: House, request: Request) -> Any:
    """GET /v1/sources"""
    async with as_org(house.pool, request.org_id) as db:
        items = [_shown(state) for state in await list_states(db, request.org_id)]
    return {"items": items, "total": len(items)}


async def chains(house: House, request: Request) -> Any:
    """GET /v1/chains"""
    async with as_org(house.pool, request.org_id) as db:
        states = {state.source: state for state in await list_states(db, request.org_id)}
    items = []
    for chain in load_chains(house.settings.chains).values():
        state = states.get(f"chain:{chain.id}")
        about = {"id": chain.id, "name": chain.name, "symbol": chain.symbol, "confirmations": chain.confirmations}
        items.append({**about, "coverage": None if state is None else _coverage(state)})
    return {"items": items, "total": len(items)}


def _coverage(state: SourceState) -> dict[str, Any]:
    detail = state.detail
    seen, missing = int(detail.get("seen", 0)), int(detail.get("missing", 0))
    return {
        "announcedBlock": detail.get("announced", 0),
        "headBlock": detail.get("head", 0),
        "finalBlock": detail.get("final", 0),
        "blocksSeen": seen,
        "blocksMissing": missing,
        "blocksRepaired": detail.get("repaired", 0),
        "gaps": detail.get("gaps", []),
        "ratio": seen / (seen + missing) if seen + missing else 1.0,
        "subscribed": detail.get("subscribed", False),
        "upstreams": detail.get("upstreams", []),
        "lastError": state.error or None,
        "updatedAt": time_text(state.told_at),
    }
