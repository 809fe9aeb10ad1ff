"""org-storage-get and org-storage-list: reads of what all workflows of an organization share."""

from typing import Any

from b3os.run.builtins.payloads import a_number, a_text
from b3os.run.builtins.state import key_in, store_in
from b3os.store import state
from services.worker.effects.call import EffectCall, EffectHouse

LIMIT_DEFAULT, LIMIT_MOST = 100, 1000


async def get(house: EffectHouse, call: EffectCall) -> dict[str, Any]:
    """Return {key, store, value, found}."""
    key, store = key_in(call.input), store_in(call.input)
    found, value = await state.read_org_storage(house.pool, call.org_id, store, key)
    return {"key": key, "store": store, "value": value, "found": found}


async def list_keys(house: EffectHouse, call: EffectCall) -> dict[str, Any]:
    """Return {store, keys, count, hasMore}, and `items` when values are asked for."""
    payload = call.input
    store, with_values = store_in(payload), payload.get("includeValues") is True
    limit = a_number(payload, "limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MOST)
    rows = await state.list_org_storage(
        house.pool,
        call.org_id,
        store,
        prefix=a_text(payload, "prefix", default=""),
        limit=limit + 1,
        offset=a_number(payload, "offset", default=0, least=0, most=2**31),
        with_values=with_values,
    )
    shown = rows[:limit]
    found: dict[str, Any] = {"store": store, "keys": [key for key, _ in shown], "count": len(shown)}
    found["hasMore"] = len(rows) > limit
    if with_values:
        found["items"] = [{"key": key, "value": value} for key, value in shown]
    return found
