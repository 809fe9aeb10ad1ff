"""The change feed of triggers: everything once at start, then only what has not been seen.

A revision can commit after a later one, so `revision > last` would miss it. Instead the cursor keeps the xmin of
the last snapshot (every transaction below it had ended) and the revisions at or above it that were already read.
"""

import msgspec

from b3os.store.pool import Pool
from b3os.store.statements import load
from b3os.store.waits import WaitTarget

_SQL = load("triggers")


class TriggerRow(msgspec.Struct, frozen=True):
    """One trigger node of a live workflow version; active=False says that it is gone.

    `active_since_ms` is when it began to listen: nothing that happened before fires it.
    """

    org_id: str
    workflow_id: str
    version: int
    node_id: str
    type: str
    payload: dict[str, object]
    secret: str
    cooldown_ms: int
    max_runs: int | None
    active: bool
    revision: int
    active_since_ms: int = 0
    #: The waiting node that an event completes; None: an event begins a run.
    wait: WaitTarget | None = None


class FeedCursor(msgspec.Struct, frozen=True):
    """How far a reader is: transactions below `xmin` are read, and above it those with these revisions."""

    xmin: int
    seen: frozenset[int] = frozenset()


async def _read(pool: Pool, name: str, cursor: FeedCursor | None) -> tuple[list[TriggerRow], FeedCursor]:
    found = await pool.fetch(_SQL[name], *(() if cursor is None else (cursor.xmin,)))
    known = frozenset() if cursor is None else cursor.seen
    rows, seen = [], []
    for record in found:
        _xmin, recent, *fields, run_id, node_id, path = record.values()
        if fields[0] is None:
            continue
        fields.append(None if run_id is None else WaitTarget(run_id, node_id, path))
        row = TriggerRow(*fields)
        if recent:
            seen.append(row.revision)
        if row.revision not in known:
            rows.append(row)
    return rows, FeedCursor(found[0]["xmin"], frozenset(seen))


async def read_all(pool: Pool) -> tuple[list[TriggerRow], FeedCursor]:
    """Read every active trigger, and the cursor from which changes follow."""
    rows, cursor = await _read(pool, "read_all", None)
    return [row for row in rows if row.active], cursor


async def read_changes(pool: Pool, cursor: FeedCursor) -> tuple[list[TriggerRow], FeedCursor]:
    """Read the changes committed since `cursor`, each once, also those that committed out of order."""
    rows, after = await _read(pool, "read_changes", cursor)
    rows.sort(key=lambda row: row.revision)
    return rows, after
