"""The audit trail of API requests, and the daily upkeep of partitioned tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from b3os.store.pool import Db, json_text
from b3os.store.statements import load

_SQL = load("audit")


class AuditEntry(msgspec.Struct, frozen=True):
    """One request; `entry` has the wire's other fields. `at` is the database's time and is not written."""

    org_id: str
    id: str
    entry: dict[str, Any]
    at: datetime | None = None


async def add_entries(db: Db, entries: Sequence[AuditEntry]) -> None:
    """Store many entries at once."""
    if entries:
        columns = ([e.org_id for e in entries], [e.id for e in entries], [json_text(e.entry) for e in entries])
        await db.execute(_SQL["add"], *columns)


async def list_entries(db: Db, org_id: str, *, limit: int = 20, offset: int = 0) -> list[AuditEntry]:
    """Return an organization's entries, newest first."""
    rows = await db.fetch(_SQL["list"], org_id, limit, offset)
    return [AuditEntry(row["org_id"], row["id"], row["entry"], row["at"]) for row in rows]


async def ensure_partitions(db: Db, ahead: int = 3) -> int:
    """Make the partitions of today and the next days; run it daily on the engine's role."""
    made: int = await db.fetchval(_SQL["ensure_partitions"], ahead)
    return made


async def drop_partitions(db: Db, table: str, keep_days: int) -> int:
    """Drop a table's partitions that are older than `keep_days`; on the engine's role."""
    dropped: int = await db.fetchval(_SQL["drop_partitions"], table, keep_days)
    return dropped
