"""db-query: one statement on the organization's database. A write is remembered by its key in its own transaction."""

from typing import Any

import msgspec

from b3os.run.builtins.payloads import a_text
from services.worker.effects.call import EffectCall, EffectHouse


async def query(house: EffectHouse, call: EffectCall) -> dict[str, Any]:
    """Return {rows, rowsAffected, lastRowId, truncated}."""
    sql = a_text(call.input, "sql", "query", code=400369)
    answer = await house.databases.query(call.org_id, sql, call.input.get("params"), key=call.idempotency_key)
    return dict(msgspec.to_builtins(answer))
