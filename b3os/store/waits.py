"""Waits that an event ends, as triggers of their own: added with the waiting record, dropped with its completion.

`runs.sql` drops them where it completes nodes and ends runs, in the same statement; here is everything else.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from b3os.store.pool import Connection, Db, json_text
from b3os.store.statements import load

_SQL = load("waits")


class WaitTarget(msgspec.Struct, frozen=True):
    """The waiting node that a trigger's event completes, instead of beginning a run."""

    run_id: str
    node_id: str
    path: str


class WaitRow(msgspec.Struct, frozen=True):
    """A node that begins to wait for a trigger of this type and payload."""

    node_id: str
    path: str
    type: str
    payload: dict[str, Any]


async def add_waits(db: Connection, waits: Iterable[tuple[str, str, WaitRow]]) -> None:
    """Listen for the waits of (organization, run), in the caller's transaction."""
    rows = [(org_id, run_id, w.node_id, w.path, w.type, json_text(w.payload)) for org_id, run_id, w in waits]
    if rows:
        await db.execute(_SQL["add_waits"], *[list(column) for column in zip(*rows, strict=True)])


async def drop_waits_of_run(db: Connection, org_id: str, run_id: str) -> None:
    """Stop listening for whatever a run waits for."""
    await db.execute(_SQL["drop_waits_of_run"], org_id, run_id)


async def is_closed(db: Connection, org_id: str, run_id: str, node_id: str, path: str) -> bool:
    """Say whether an answer to a waiting node comes too late, its timer not having fired yet, or is for a delay."""
    found: bool = await db.fetchval(_SQL["is_closed"], org_id, run_id, node_id, path)
    return found


async def remove_waits(db: Db) -> int:
    """Remove waits that were dropped an hour ago, which every master has seen by now; returns how many."""
    removed: int = await db.fetchval(_SQL["remove_waits"])
    return removed
