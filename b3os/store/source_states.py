"""How every event source fares: who holds it, how far behind it is, what went wrong last. One row for each source.

Holders tell when they renew their leases: see leases.py.
"""

from datetime import datetime
from typing import Any

import msgspec

from b3os.store.pool import Db
from b3os.store.statements import load

_SQL = load("source_states")


class Told(msgspec.Struct, frozen=True):
    """What a holder tells of a source; `error_s` is when the last error was, in seconds since 1970.

    `org_id` is whose it is; empty: everybody may see how it fares.
    """

    source: str
    lag: str = ""
    error: str = ""
    error_s: float | None = None
    detail: dict[str, Any] = {}
    org_id: str = ""


class SourceState(msgspec.Struct, frozen=True):
    """What is known of a source."""

    source: str
    holder: str
    lag: str
    error: str
    error_at: datetime | None
    detail: dict[str, Any]
    told_at: datetime


async def list_states(db: Db, org_id: str) -> list[SourceState]:
    """Return the sources that are everybody's, or the organization's, by name."""
    return [SourceState(**row) for row in await db.fetch(_SQL["list"], org_id)]


async def keep_only(db: Db, wanted: list[str]) -> None:
    """Forget the sources that nobody wants, and nobody told of for a minute."""
    await db.execute(_SQL["keep_only"], wanted)
