"""What became of the chain events that started runs: pending, then finalized or removed, each told once.

A row is written in the transaction that accepts the event. One whose event comes back in a later block after it was
told to be gone becomes finalized after all: the last word is the truth.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from b3os.store.pool import Connection, Db, Pool
from b3os.store.statements import load

_SQL = load("trigger_notices")

#: Notices that one look at the pending returns; the others come with the next.
LIMIT = 5000


class Sighting(msgspec.Struct, frozen=True):
    """Where the event of a run was seen."""

    org_id: str
    run_id: str
    block: int
    block_hash: str
    tx: str


class Settled(msgspec.Struct, frozen=True):
    """A run whose event's fate is decided."""

    org_id: str
    run_id: str
    state: str
    workflow_id: str


class Notice(msgspec.Struct, frozen=True):
    """What a run shows of its event."""

    state: str
    block: int
    block_hash: str
    settled_at: datetime | None


async def add(db: Connection, source: str, sightings: Sequence[Sighting], *, state: str) -> None:
    """Note the events of runs that were just accepted."""
    await db.execute(
        _SQL["add"], source, state, [s.org_id for s in sightings], [s.run_id for s in sightings],
        [s.block for s in sightings], [s.block_hash for s in sightings], [s.tx for s in sightings],
    )  # fmt: skip


async def move(db: Connection, sightings: Sequence[Sighting]) -> None:
    """Note where the events of known runs are now."""
    await db.execute(
        _SQL["move"], [s.org_id for s in sightings], [s.run_id for s in sightings],
        [s.block for s in sightings], [s.block_hash for s in sightings],
    )  # fmt: skip


async def pending(pool: Pool, source: str, until: int) -> list[Sighting]:
    """Return the undecided events of a source up to a block."""
    return [Sighting(**row) for row in await pool.fetch(_SQL["pending"], source, until, LIMIT)]


async def settle(db: Connection, fates: Sequence[tuple[str, str, str]]) -> list[Settled]:
    """Decide events, given as (organization, run, state); returns those that were not so decided before."""
    columns = [list(column) for column in zip(*fates, strict=True)]
    return [Settled(**row) for row in await db.fetch(_SQL["settle"], *columns)]


async def of_run(db: Db, org_id: str, run_id: str) -> Notice | None:
    """Return what became of the event of a run; None for one that no chain started."""
    row = await db.fetchrow(_SQL["of_run"], org_id, run_id)
    return None if row is None else Notice(**row)
