"""What is known of triggers on a chain's state, as their sources write it. The engine's role only."""

from collections.abc import Mapping
from typing import Any

from b3os.store.pool import Connection, Pool
from b3os.store.statements import load
from b3os.store.triggers import Name

_SQL = load("edge_states")

#: What a state belongs to, and the state.
Marked = tuple[str, dict[str, Any]]


async def write(db: Connection, source: str, states: Mapping[Name, Marked | None]) -> None:
    """Set states inside the caller's transaction; None: there is nothing to remember."""
    kept = [(*name, *marked) for name, marked in states.items() if marked is not None]
    gone = sorted(name for name, marked in states.items() if marked is None)
    if gone:
        await db.execute(_SQL["drop"], *[list(column) for column in zip(*gone, strict=True)])
    if kept:
        await db.execute(_SQL["put"], source, *[list(column) for column in zip(*kept, strict=True)])


async def read(pool: Pool, source: str) -> dict[Name, Marked]:
    """Return the states of a source; those of triggers that are gone are removed."""
    await pool.execute(_SQL["forget"], source)
    rows = await pool.fetch(_SQL["read"], source)
    return {(row["org_id"], row["workflow_id"], row["node_id"]): (row["mark"], row["state"]) for row in rows}
