"""Trying a trigger before it is published: what it would give a workflow, and when it would have fired."""

import asyncio
import time
from typing import Any

from b3os.chain.rpc_errors import ChainUnreachable, RpcError
from b3os.detect.catalog import check_trigger
from b3os.detect.evm import EVM_TYPES
from b3os.detect.samples import known_type, sample_result
from b3os.detect.thresholds import STATE_TYPES
from b3os.errors import BadInput, TooMany
from b3os.reading.lookback import Candidate, LookBack, Past
from b3os.reading.sight import Seen
from b3os.reading.states import present
from b3os.run.times import rfc3339
from services.api.fields import record, whole
from services.api.house import House
from services.api.wire import Request

#: Blocks that a backtest reads unless told, and at most; the same for the firings that it lists.
BLOCKS, MAX_BLOCKS = 1000, 5000
LIMIT, MAX_LIMIT = 100, 1000
#: Clients wait 35 s.
BUDGET_S = 25.0
#: How far, and how long, a test looks for something real before it takes a sample.
RECENT_BLOCKS, RECENT_S = 60, 3.0
OUT_OF_BOUNDS, NOT_OF_A_CHAIN = 400437, 400438


async def test(house: House, request: Request) -> Any:
    """POST /v1/triggers/{type}/test"""
    kind, payload = _asked(request)
    if payload:  # an empty one stands for the type's example; a rule of a calendar may have to be searched for a while
        await asyncio.to_thread(check_trigger, kind, payload, house.chains)
    if kind in EVM_TYPES | STATE_TYPES and payload:
        look = _latest if kind in EVM_TYPES else _present
        found = await look(house, request, kind, payload)
        if found is not None:
            return found
    now_ms = time.time_ns() // 1_000_000
    return await asyncio.to_thread(sample_result, kind, payload, now_s=now_ms // 1000, triggered_at=rfc3339(now_ms))


async def backtest(house: House, request: Request) -> Any:
    """POST /v1/triggers/{type}/backtest"""
    kind, payload = _asked(request)
    if kind not in EVM_TYPES:
        raise BadInput(
            f"{kind} has no past to look at: only what happens in blocks of a chain has", code=NOT_OF_A_CHAIN
        )
    fields = request.fields()
    blocks, limit = _bounded(fields, "blocks", BLOCKS, MAX_BLOCKS), _bounded(fields, "limit", LIMIT, MAX_LIMIT)
    check_trigger(kind, payload, house.chains)
    look, past = await _look(house, request, kind, payload, blocks=blocks, limit=limit, budget_s=BUDGET_S)
    is_any = past.first <= past.last
    return {
        "chainId": int(payload["chainId"]),
        "headBlock": past.head,
        "fromBlock": past.first if is_any else None,
        "toBlock": past.last if is_any else None,
        "endedBy": past.ended,
        "items": [_shown(one, look) for one in past.seen],
    }


def _asked(request: Request) -> tuple[str, dict[str, Any]]:
    kind, fields = known_type(request.params["type"]), request.fields()
    payload = record(fields, "inputs") or record(fields, "payload") or {}
    connector = record(fields, "connector")
    if payload and connector:
        payload = {**payload, "connector": connector}
    return kind, payload


def _bounded(fields: dict[str, Any], name: str, default: int, most: int) -> int:
    value = whole(fields, name)
    if value is not None and not 1 <= value <= most:
        raise BadInput(f"`{name}` is from 1 to {most}", code=OUT_OF_BOUNDS)
    return default if value is None else value


async def _look(
    house: House, request: Request, kind: str, payload: dict[str, Any], *, blocks: int, limit: int, budget_s: float
) -> tuple[LookBack, Past]:
    look = LookBack(house.nodes.rpc(int(payload["chainId"])), kind, payload)
    with house.turns.turn(request.org_id, time.monotonic()):
        return look, await look.read(blocks=blocks, limit=limit, budget_s=budget_s)


async def _latest(house: House, request: Request, kind: str, payload: dict[str, Any]) -> dict[str, Any] | None:
    """Return the newest real result of the last blocks; None when there is none, or it costs too much."""
    try:
        _, past = await _look(house, request, kind, payload, blocks=RECENT_BLOCKS, limit=1, budget_s=RECENT_S)
    except (ChainUnreachable, RpcError, TooMany):
        return None
    return _result(past.seen[0]) if past.seen else None


async def _present(house: House, request: Request, kind: str, payload: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a trigger on state reads now, whether it would fire or not; None when it cannot be read."""
    rpc = house.nodes.rpc(int(payload["chainId"]))
    try:
        with house.turns.turn(request.org_id, time.monotonic()):
            async with asyncio.timeout(RECENT_S):
                result, at_ms = await present(rpc, kind, payload)
    except (ChainUnreachable, RpcError, TooMany, TimeoutError):
        return None
    return {**result, "triggeredAt": rfc3339(at_ms)}


def _result(one: Seen[Candidate]) -> dict[str, Any]:
    return {**one.result, "triggeredAt": rfc3339(one.block.time_ms)}


def _shown(one: Seen[Candidate], look: LookBack) -> dict[str, Any]:
    height, policy = one.block.height, look.policy
    return {
        "blockNumber": height,
        "firesAtBlock": height + policy if isinstance(policy, int) else None,
        "transactionHash": one.tx or None,
        "result": _result(one),
    }
