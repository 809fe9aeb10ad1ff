"""What keeps runs moving: handing over what waits, finding what nobody holds, firing timers, giving runs back.

`queued_at` of a running run says since when it is the queue's: set at admission while its organization's window has
room, else later by `feed`. A run whose owner is gone, or that the queue has lost, is found here whatever became of
Redis. Each list takes organizations in turn.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from b3os.store import leases
from b3os.store.pool import Pool, transaction
from b3os.store.runs import complete_node, wake
from b3os.store.statements import load

_SQL = load("sweep")

#: A run in the queue's hands for so long without an owner may be lost: it is put into the queue again.
LOST_AFTER_S = 4.0
LEASE = "sweeper"

#: What a timer of a kind completes its node with: result, branch, status. A `retry` or `deadline` only wakes its run.
TIMEOUTS: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "delay": ({"status": "completed"}, None, "success"),
    "wait": ({"status": "timed_out", "branch": "timed_out"}, "timed_out", "success"),
    "wait_fail": (
        {
            "status": "timed_out",
            "error": {
                "code": "400350",
                "message": "nothing answered within the wait's `timeoutMs`, and no child has branch `timed_out`",
                "category": "config",
                "remediation": "give the node a child with branch `timed_out`, or wait longer",
                "retryable": False,
            },
        },
        None,
        "failure",
    ),
}


class Ready(msgspec.Struct, frozen=True):
    """A run that should be in the queue."""

    org_id: str
    id: str
    source: str


class Page(msgspec.Struct, frozen=True):
    """One page of organizations: go on after `last`, which is empty when there is none left.

    `is_waiting`: some organization had runs that wait, whether there was room for them or not.
    """

    ready: list[Ready]
    last: str
    is_waiting: bool = False


class Look(msgspec.Struct, frozen=True):
    """What is to be done: timers due, runs waiting for room, runs the queue lost, runs whose owner died."""

    is_due: bool
    is_waiting: bool
    is_lost: bool
    is_dead: bool


async def look(pool: Pool, lost_after_s: float = LOST_AFTER_S) -> Look:
    """See whether anything is to be done; writes nothing."""
    return Look(*(await pool.fetchrow(_SQL["look"], lost_after_s)).values())


async def feed(pool: Pool, after: str, *, orgs: int, limit: int) -> Page:
    """Hand over runs that wait, of up to `orgs` organizations after `after`, round robin within their windows."""
    return _page(await pool.fetch(_SQL["feed"], after, orgs, limit), orgs)


async def lost(pool: Pool, after: str, *, orgs: int, each: int, lost_after_s: float = LOST_AFTER_S) -> Page:
    """Find runs that the queue should have and nobody holds, up to `each` of up to `orgs` organizations."""
    return _page(await pool.fetch(_SQL["lost"], after, orgs, each, lost_after_s), orgs)


async def take_from_the_dead(pool: Pool, limit: int) -> list[Ready]:
    """Free runs whose owner's lease has run out."""
    return [Ready(*row.values()) for row in await pool.fetch(_SQL["take_from_the_dead"], limit)]


async def let_go(pool: Pool, owner: str, run_ids: Sequence[str]) -> list[Ready]:
    """Free some runs of an owner that goes on with its others."""
    return [Ready(*row.values()) for row in await pool.fetch(_SQL["let_go"], owner, list(run_ids))]


async def give_back(pool: Pool, owner: str) -> list[Ready]:
    """Free every run of an owner that stops, and end its lease."""
    async with transaction(pool) as db:
        ready = [Ready(*row.values()) for row in await db.fetch(_SQL["give_back"], owner)]
        await db.execute(_SQL["leave"], owner)
    return ready


async def fire_due_timers(pool: Pool, limit: int) -> tuple[list[Ready], int]:
    """Complete what has a timer that is due, or wake its run; returns the runs to queue now, and how many timers."""
    async with transaction(pool) as db:
        woken: dict[str, Ready] = {}
        due = [tuple(row.values()) for row in await db.fetch(_SQL["due_timers"], limit)]
        for org_id, run_id, node_id, path, kind in due:
            if kind in TIMEOUTS:
                found = await complete_node(db, org_id, run_id, node_id, path, *TIMEOUTS[kind])
            else:
                found = await wake(db, org_id, run_id, node_id, path)
            if found is not None and found.is_queued:
                woken[run_id] = Ready(org_id, run_id, found.source)
        return list(woken.values()), len(due)


async def lead(pool: Pool, owner: str, ttl_s: float) -> bool:
    """Become or stay the one that sweeps; a lease that another holds is only read."""
    if await pool.fetchval(_SQL["is_led"], LEASE, owner):
        return False
    return await leases.acquire(pool, LEASE, owner, ttl_s) is not None


async def abdicate(pool: Pool, owner: str) -> None:
    """Let another sweep at once."""
    await leases.release(pool, LEASE, owner)


async def forget_workers(pool: Pool) -> None:
    """Drop the rows of workers that ended long ago."""
    await pool.execute(_SQL["forget_workers"])


def _page(rows: list[Any], orgs: int) -> Page:
    ready = [Ready(row["org_id"], row["id"], row["trigger_source"]) for row in rows if row["id"] is not None]
    return Page(ready, rows[0]["last"] if rows[0]["orgs"] == orgs else "", rows[0]["orgs"] > 0)
