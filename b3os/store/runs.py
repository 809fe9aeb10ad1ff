"""Runs as the engine sees them: claim, load, group commit, waking. Sweeping is in sweep.py, the API's in run_reads.py.

One worker row carries the lease of all its runs. Every write of a run names the epoch of its claim and is refused
when that is stale. A run that was just accepted is claimed by its first commit: until then nothing of it has left the
house. A record that is there already stays: the first result of a node is its result.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from b3os.errors import NotFound
from b3os.store.pool import Connection, Db, Pool, json_text, transaction
from b3os.store.state import WriteLike, save_snapshots, save_writes
from b3os.store.statements import load
from b3os.store.waits import WaitRow, add_waits, is_closed

_SQL = load("runs")


class Claim(msgspec.Struct, frozen=True):
    """Who wants to hold a run that nobody has held yet, and for how long at a time."""

    owner: str
    ttl_s: float


class RunRow(msgspec.Struct, frozen=True):
    """A run to go on with; `definition` is set only if it carries its own (inline runs), `variables` once it began.

    It is claimed, unless it has a `claim`: then it was just accepted, and its first commit claims it.
    """

    org_id: str
    id: str
    workflow_id: str
    workflow_version: int
    status: str
    trigger_node: str
    trigger_source: str
    trigger_result: dict[str, Any]
    source_run_id: str | None
    started_at: datetime
    finished_at: datetime | None
    epoch: int
    definition: dict[str, Any] | None = None
    edited: dict[str, Any] | None = None
    variables: dict[str, Any] | None = None
    claim: Claim | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether nobody held this run before and it copies none: it has no records to be read."""
        return self.epoch == 1 and self.source_run_id is None


class TimerRow(msgspec.Struct, frozen=True):
    """A wake-up, due `wake_in_ms` after the commit on the database's clock; the kinds are in sweep.py."""

    node_id: str
    path: str
    kind: str
    wake_in_ms: int


class RecordLike(Protocol):
    """What a node record must offer; b3os.run.records.NodeRecord does."""

    @property
    def seq(self) -> int: ...
    @property
    def node_id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def input(self) -> Any: ...
    @property
    def result(self) -> Any: ...
    @property
    def branch(self) -> str | None: ...
    @property
    def started_ms(self) -> int: ...
    @property
    def finished_ms(self) -> int | None: ...
    @property
    def attempt(self) -> int: ...


class RunCommit(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run wants stored at once; `status` None keeps it, `release` gives the lease up.

    With a `claim` it is a run's first: it is stored if nobody has held the run yet, and then the run is its owner's.
    """

    org_id: str
    run_id: str
    epoch: int
    records: Sequence[RecordLike] = ()
    timers: Sequence[TimerRow] = ()
    state: Sequence[WriteLike] = ()
    waits: Sequence[WaitRow] = ()
    #: The persistent variables that the run began with, once.
    variables: dict[str, Any] | None = None
    status: str | None = None
    release: bool = False
    claim: Claim | None = None


async def claim(pool: Pool, run_ids: Sequence[str], owner: str, ttl_s: float) -> list[RunRow]:
    """Take the runs that are unfinished and free; each gets a new epoch. The owner's lease starts or goes on."""
    async with transaction(pool) as db:
        await db.execute(_SQL["beat"], owner, float(ttl_s))
        rows = await db.fetch(_SQL["claim"], list(run_ids), owner)
    return [RunRow(*row.values()) for row in rows]


async def renew_runs(pool: Pool, owner: str, ttl_s: float) -> set[tuple[str, str]]:
    """Renew the lease of all runs of `owner`; returns those still held, so that a missing one can be stopped."""
    return {(row["org_id"], row["id"]) for row in await pool.fetch(_SQL["renew"], owner, float(ttl_s))}


async def load_definition(pool: Db, org_id: str, workflow_id: str, version: int) -> dict[str, Any]:
    """Return an immutable workflow version's definition."""
    found: dict[str, Any] | None = await pool.fetchval(_SQL["load_definition"], org_id, workflow_id, version)
    if found is None:
        raise NotFound(f"workflow {workflow_id} has no version {version}: check the id and the version")
    return found


async def load_records(pool: Db, org_id: str, run_id: str) -> list[dict[str, Any]]:
    """Return a run's node records in order."""
    return [dict(row.items()) for row in await pool.fetch(_SQL["load_records"], org_id, run_id)]


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _merge(batch: Sequence[RunCommit]) -> list[tuple[str, str, int, bool, str | None, bool]]:
    """One line per run and epoch: the last status given, released if any commit says so."""
    merged: dict[tuple[str, str, int, bool], tuple[str | None, bool]] = {}
    for item in batch:
        key = (item.org_id, item.run_id, item.epoch, item.claim is not None)
        status, release = merged.get(key, (None, False))
        merged[key] = (item.status or status, item.release or release)
    return [(*key, *value) for key, value in merged.items()]


#: The ends of a node; its other records give way to the next attempt.
ENDS = frozenset({"success", "failure", "skipped"})


def _records(batch: Sequence[RunCommit]) -> list[tuple[Any, ...]]:
    """One row per node and whether it is its end: the statement may not meet a row twice."""
    rows: dict[tuple[str, str, str, str, bool], tuple[Any, ...]] = {}
    for commit_ in batch:
        for r in commit_.records:
            key = (commit_.org_id, commit_.run_id, r.node_id, r.path, r.status in ENDS)
            if r.status in ENDS and key in rows:
                continue
            rows[key] = (
                commit_.org_id,
                commit_.run_id,
                r.seq,
                r.node_id,
                r.path,
                r.type,
                r.status,
                json_text(r.input),
                json_text(r.result),
                r.branch,
                r.started_ms,
                r.finished_ms,
                r.attempt,
            )
    return list(rows.values())


def _timers(batch: Sequence[RunCommit]) -> list[tuple[Any, ...]]:
    """One row per timer, the last one given: the statement may not meet a row twice."""
    rows = {
        (c.org_id, c.run_id, t.node_id, t.path): (c.org_id, c.run_id, t.node_id, t.path, t.kind, t.wake_in_ms)
        for c in batch
        for t in c.timers
    }
    return list(rows.values())


async def commit(pool: Pool, batch: Sequence[RunCommit]) -> list[int | None]:
    """Store many runs' results in one transaction; None for each whose epoch is stale or that has ended.

    Otherwise by how much the numbers of its records moved: a timer or a callback may have stored a completion
    while the owner was at work, and the completion came first.
    """
    if not batch:
        return []
    newest: dict[tuple[str, str], int] = {}
    for item in batch:
        key = (item.org_id, item.run_id)
        newest[key] = max(newest.get(key, item.epoch), item.epoch)
    # A first commit whose run has been claimed meanwhile is as stale as one of an older epoch.
    claimed = {(item.org_id, item.run_id) for item in batch if item.claim is None}
    current = [
        item
        for item in batch
        if newest[item.org_id, item.run_id] == item.epoch
        and (item.claim is None or (item.org_id, item.run_id) not in claimed)
    ]
    if any(item.state or item.waits or item.variables is not None for item in current):
        async with transaction(pool) as db:
            owned = await _store(db, current)
            accepted = [item for item in current if (item.org_id, item.run_id) in owned]
            await save_writes(db, [(c.org_id, c.run_id, write) for c in accepted for write in c.state])
            await add_waits(db, [(c.org_id, c.run_id, wait) for c in accepted for wait in c.waits])
            await save_snapshots(db, {(c.org_id, c.run_id): c.variables for c in accepted if c.variables is not None})
    else:
        owned = await _store(pool, current)
    taken = {id(item) for item in current}
    return [owned.get((item.org_id, item.run_id)) if id(item) in taken else None for item in batch]


async def _store(db: Db, batch: Sequence[RunCommit]) -> dict[tuple[str, str], int]:
    """Store all that one statement can; returns the shift of each run that took it."""
    claims = next((item.claim for item in batch if item.claim is not None), Claim("", 0.0))
    rows = await db.fetch(
        _SQL["commit"], *_columns(list(_merge(batch)), 6), *_columns(_records(batch), 13), *_columns(_timers(batch), 6),
        claims.owner, claims.ttl_s,
    )  # fmt: skip
    return {(row["org_id"], row["id"]): row["shift"] for row in rows}


class Woken(msgspec.Struct, frozen=True):
    """A run whose node was completed from outside. `is_queued`: it is the queue's now; else it is held, or waits."""

    is_queued: bool
    source: str


async def complete_node(
    db: Connection, org_id: str, run_id: str, node_id: str, path: str, result: object, branch: str | None,
    status: str = "success",
) -> Woken | None:  # fmt: skip
    """Complete a waiting node from outside its worker, in the caller's transaction, which holds the run's row."""
    row = await db.fetchrow(_SQL["complete"], org_id, run_id, node_id, path, result, branch, status)
    return None if row is None else Woken(*row.values())


async def wake(db: Connection, org_id: str, run_id: str, node_id: str, path: str) -> Woken | None:
    """Take a timer away that completes nothing, and let its run look at the clock."""
    row = await db.fetchrow(_SQL["wake"], org_id, run_id, node_id, path)
    return None if row is None else Woken(*row.values())


async def load_answers(pool: Db, org_id: str, run_id: str, waiting: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the ends of nodes that a worker knows as waiting: a timer or a callback may have come meanwhile."""
    rows = await pool.fetch(_SQL["answers"], org_id, run_id, *_columns(list(waiting), 2))
    return [dict(row.items()) for row in rows]


async def resume_wait(pool: Db, org_id: str, run_id: str, node_id: str, path: str, data: object) -> Woken | None:
    """Answer a waiting node; of many answers exactly one gets a Woken. The run must then be queued if it says so."""
    async with transaction(pool) as db:
        return await resume(db, org_id, run_id, node_id, path, data, source="manual")


async def resume(
    db: Connection, org_id: str, run_id: str, node_id: str, path: str, data: object, *, source: str
) -> Woken | None:
    """Answer a waiting node in the caller's transaction; None when it does not wait (any more), or its time is up."""
    if await db.fetchval(_SQL["lock_run"], org_id, run_id) is None:
        return None
    if await is_closed(db, org_id, run_id, node_id, path):
        return None
    result = {"status": "resumed", "branch": "resumed", "data": data, "triggerResult": data, "source": source}
    return await complete_node(db, org_id, run_id, node_id, path, result, "resumed")
