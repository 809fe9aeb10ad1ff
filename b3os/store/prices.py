"""Prices: the time series of ticks, and the latches of price triggers that fired. The engine's role only."""

from collections.abc import Mapping, Sequence

from b3os.store.pool import Connection, Pool
from b3os.store.statements import load

_SQL = load("prices")

#: Organization, workflow, node.
TriggerKey = tuple[str, str, str]
#: Asset, microseconds since 1970, price as decimal text.
Tick = tuple[str, int, str]


async def add_ticks(db: Connection, ticks: Sequence[Tick]) -> None:
    """Store ticks, inside the caller's transaction; one that is stored already stays as it is."""
    if ticks:
        await db.execute(_SQL["add_ticks"], *[list(column) for column in zip(*ticks, strict=True)])


async def write_latches(db: Connection, marks: Mapping[TriggerKey, str | None]) -> None:
    """Set the marks of triggers that fired, and remove those (None) of triggers that can fire again."""
    fired = sorted((*key, mark) for key, mark in marks.items() if mark is not None)
    armed = sorted(key for key, mark in marks.items() if mark is None)
    if armed:
        await db.execute(_SQL["unlatch"], *[list(column) for column in zip(*armed, strict=True)])
    if fired:
        await db.execute(_SQL["latch"], *[list(column) for column in zip(*fired, strict=True)])


async def read_latches(pool: Pool) -> dict[TriggerKey, str]:
    """Return the marks of all triggers that wait for the price to come back; those of gone triggers are removed."""
    await pool.execute(_SQL["forget_latches"])
    rows = await pool.fetch(_SQL["read_latches"])
    return {(row["org_id"], row["workflow_id"], row["node_id"]): row["mark"] for row in rows}
