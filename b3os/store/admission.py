"""Accepting triggers: receipt, run, cooldown, run limit and source cursor in one transaction; or a wait's completion.

A workflow without cooldown or run limit needs one statement and locks no shared row. A skipped event (cooldown)
keeps its receipt, so that a replay of it cannot fire later. The same key twice in one call is a duplicate.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from b3os.store.leases import write_cursor
from b3os.store.pool import Connection, Db, Pool, transaction
from b3os.store.runs import resume
from b3os.store.statements import load
from b3os.store.waits import WaitTarget

_SQL = load("admission")


class Proposal(msgspec.Struct, frozen=True):
    """A matched event that wants to become a run. `receipt` makes it happen once; `run_id` is the run's id if so."""

    org_id: str
    workflow_id: str
    version: int
    node_id: str
    receipt: bytes
    run_id: str
    source: str
    result: dict[str, Any]
    now_ms: int
    #: The waiting node that the event completes; then no run begins and no receipt is kept, since it completes once.
    wait: WaitTarget | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a proposal: accepted, duplicate (run_id of the first), cooldown, exhausted or inactive.

    One for a waiting node is resumed, or skipped when the node does not wait any more.
    `is_queued`: an accepted or resumed run is to be put into the queue now; else it waits for room in its
    organization's window.
    """

    run_id: str
    status: str
    is_queued: bool = False


#: What one statement cannot say the last word on.
UNSETTLED = frozenset({"limited", "duplicate"})


class Limit(msgspec.Struct):
    """The counters of a workflow with a cooldown or a run limit."""

    cooldown_ms: int
    remain_runs: int | None
    last_ms: int | None
    status: str
    changed: bool = False


async def accept(
    pool: Pool,
    proposals: Sequence[Proposal],
    *,
    cursor: tuple[str, int, dict[str, Any]] | None = None,
    also: Callable[[Connection], Awaitable[None]] | None = None,
    then: Callable[[Connection, list[Outcome]], Awaitable[None]] | None = None,
) -> list[Outcome]:
    """Decide all proposals and move the source's cursor, or nothing at all; StaleEpoch if the lease is lost.

    `also` writes what else belongs to the same step of the source, `then` what follows from the outcomes.
    """
    first: dict[tuple[str, bytes], int] = {}
    for index, proposal in enumerate(proposals):
        first.setdefault((proposal.org_id, proposal.receipt), index)
    unique = [proposals[index] for index in first.values()]
    starting = [proposal for proposal in unique if proposal.wait is None]
    async with transaction(pool) as db:
        if cursor is not None:
            await write_cursor(db, *cursor)
        if also is not None:
            await also(db)
        decided = _by_key(starting, await _settle(db, starting, await open_runs(db, starting)))
        decided |= await _resume(db, [proposal for proposal in unique if proposal.wait is not None])
        told = _in_order(proposals, first, decided)
        if then is not None:
            await then(db, told)
    return told


def _by_key(proposals: Sequence[Proposal], outcomes: Sequence[Outcome]) -> dict[tuple[str, bytes], Outcome]:
    return {(p.org_id, p.receipt): outcome for p, outcome in zip(proposals, outcomes, strict=True)}


def _in_order(
    proposals: Sequence[Proposal], first: dict[tuple[str, bytes], int], decided: dict[tuple[str, bytes], Outcome]
) -> list[Outcome]:
    """Give every proposal its outcome; a key that came before in the same call is a duplicate."""
    told = []
    for index, proposal in enumerate(proposals):
        key = (proposal.org_id, proposal.receipt)
        found = decided[key]
        repeated = first[key] != index and found.status in ("accepted", "resumed")
        told.append(Outcome(found.run_id, "duplicate") if repeated else found)
    return told


async def _resume(db: Connection, proposals: list[Proposal]) -> dict[tuple[str, bytes], Outcome]:
    """Complete the waiting nodes; in the order of their runs, so that two masters never wait for each other."""
    found: dict[tuple[str, bytes], Outcome] = {}
    for p in sorted(proposals, key=lambda p: (p.org_id, p.run_id)):
        assert p.wait is not None, "the caller chose these"
        where = (p.org_id, p.wait.run_id, p.wait.node_id, p.wait.path)
        woken = await resume(db, *where, p.result, source=p.source)
        is_queued = woken is not None and woken.is_queued
        found[p.org_id, p.receipt] = Outcome(p.wait.run_id, "skipped" if woken is None else "resumed", is_queued)
    return found


def _columns(proposals: Sequence[Proposal]) -> list[list[Any]]:
    return [
        [p.org_id for p in proposals],
        [p.workflow_id for p in proposals],
        [p.version for p in proposals],
        [p.node_id for p in proposals],
        [p.receipt for p in proposals],
        [p.run_id for p in proposals],
        [p.source for p in proposals],
        [p.result for p in proposals],
        [p.now_ms for p in proposals],
    ]


async def open_runs(db: Db, proposals: Sequence[Proposal]) -> list[Outcome]:
    """Start the runs of workflows without limits, in one statement; no receipt may come twice among the proposals.

    What has a status of UNSETTLED is as it was: `accept` decides it.
    """
    rows = await db.fetch(_SQL["open"], *_columns(proposals)) if proposals else []
    return [Outcome(p.run_id, row["status"], row["is_queued"]) for p, row in zip(proposals, rows, strict=True)]


async def _settle(db: Connection, proposals: list[Proposal], outcomes: list[Outcome]) -> list[Outcome]:
    """Decide what has limits, and find the runs of what was there already."""
    limited = [index for index, outcome in enumerate(outcomes) if outcome.status == "limited"]
    if limited:
        chosen = [proposals[index] for index in limited]
        for index, outcome in zip(limited, await _decide_limited(db, chosen), strict=True):
            outcomes[index] = outcome
    repeats = [index for index, outcome in enumerate(outcomes) if outcome.status == "duplicate"]
    if repeats:
        known = await _known(db, [proposals[index] for index in repeats])
        for index in repeats:
            p = proposals[index]
            outcomes[index] = Outcome(known.get((p.org_id, p.receipt)) or "", "duplicate")
    return outcomes


async def _known(db: Connection, proposals: list[Proposal]) -> dict[tuple[str, bytes], str | None]:
    rows = await db.fetch(_SQL["receipts"], [p.org_id for p in proposals], [p.receipt for p in proposals])
    return {(row["org_id"], row["key"]): row["run_id"] for row in rows}


def judge(limit: Limit | None, proposal: Proposal) -> str:
    """Say whether a limited workflow may run now, and count the run if so."""
    if limit is None or limit.status != "active":
        return "inactive" if limit is None or limit.remain_runs != 0 else "exhausted"
    if limit.remain_runs is not None and limit.remain_runs <= 0:
        return "exhausted"
    if limit.last_ms is not None and proposal.now_ms - limit.last_ms < limit.cooldown_ms:
        return "cooldown"
    limit.last_ms = proposal.now_ms
    if limit.remain_runs is not None:
        limit.remain_runs -= 1
    limit.changed = True
    return "accepted"


async def _decide_limited(db: Connection, proposals: list[Proposal]) -> list[Outcome]:
    pairs = sorted({(p.org_id, p.workflow_id) for p in proposals})
    rows = await db.fetch(_SQL["lock_limits"], [org for org, _ in pairs], [wf for _, wf in pairs])
    limits = {
        (r["org_id"], r["workflow_id"]): Limit(r["cooldown_ms"], r["remain_runs"], r["last_ms"], r["status"])
        for r in rows
    }
    known = await _known(db, proposals)  # read after the lock: whoever had it before us has committed
    outcomes, receipts, runs = [], [], []
    for p in proposals:
        if (p.org_id, p.receipt) in known:
            outcomes.append(Outcome(p.run_id, "duplicate"))
            continue
        status = judge(limits.get((p.org_id, p.workflow_id)), p)
        outcomes.append(Outcome(p.run_id, status))
        if status in ("accepted", "cooldown"):
            receipts.append((p.org_id, p.receipt, p.workflow_id, p.run_id if status == "accepted" else None))
        if status == "accepted":
            runs.append(p)
    if receipts:
        receipts.sort(key=lambda r: r[:2])
        await db.execute(_SQL["add_receipts"], *[list(column) for column in zip(*receipts, strict=True)])
    if not runs:
        return outcomes
    queued = {row["id"] for row in await db.fetch(_SQL["add_runs"], *_columns(runs)) if row["is_queued"]}
    await _save(db, limits)
    return [msgspec.structs.replace(o, is_queued=o.status == "accepted" and o.run_id in queued) for o in outcomes]


async def _save(db: Connection, limits: dict[tuple[str, str], Limit]) -> None:
    changed = [(*key, limit.remain_runs, limit.last_ms) for key, limit in limits.items() if limit.changed]
    await db.execute(_SQL["save_limits"], *[list(column) for column in zip(*changed, strict=True)])
    spent = [key for key, limit in limits.items() if limit.changed and limit.remain_runs == 0]
    if spent:
        await db.execute(_SQL["pause_exhausted"], [org for org, _ in spent], [wf for _, wf in spent])
