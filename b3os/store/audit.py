"""The audit trail of API requests."""

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
