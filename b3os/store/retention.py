"""Upkeep of the store: partitions ahead, and the removal of what is old, a batch at a time; on the engine's role.

Node records go with their day's partition, and only when no run of that day is left: one that still waits keeps it.
"""

from datetime import date

import asyncpg  # type: ignore[import-untyped, unused-ignore]

from b3os.store.pool import Db, transaction
from b3os.store.statements import load

_SQL = load("retention")


async def today(db: Db) -> date:
    """Return the database's day, UTC."""
    found: date = await db.fetchval(_SQL["today"])
    return found


async def ensure_partitions(db: Db, ahead: int = 3) -> int | None:
    """Make the partitions of today and the next days; returns how many, or None when a table was busy."""
    return await _quickly(db, _SQL["ensure_partitions"], ahead)


async def drop_partitions(db: Db, table: str, before: date) -> int | None:
    """Drop a table's partitions of days before `before`; returns how many, or None when the table was busy."""
    return await _quickly(db, _SQL["drop_partitions"], table, before)


async def _quickly(db: Db, statement: str, *parameters: object) -> int | None:
    try:
        async with transaction(db) as tx:
            await tx.execute(_SQL["be_quick"])
            done: int = await tx.fetchval(statement, *parameters)
            return done
    except asyncpg.LockNotAvailableError:
        return None


async def remove_runs(db: Db, before: date, limit: int) -> int:
    """Remove up to `limit` ended runs of days before `before`; returns how many."""
    removed: int = await db.fetchval(_SQL["remove_runs"], before, limit)
    return removed


async def remove_receipts(db: Db, before: date, limit: int) -> int:
    """Remove up to `limit` receipts older than `before` whose run is gone; returns how many."""
    removed: int = await db.fetchval(_SQL["remove_receipts"], before, limit)
    return removed


async def first_day(db: Db, before: date) -> date:
    """Return the day of the oldest run that is left, or `before` when none is older."""
    found: date | None = await db.fetchval(_SQL["first_day"], before)
    return found or before


async def remove_workers(db: Db) -> int:
    """Remove workers whose lease ended a day ago; returns how many."""
    removed: int = await db.fetchval(_SQL["remove_workers"])
    return removed
