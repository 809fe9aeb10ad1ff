"""What the worker needs from outside: the engine's store and the queue. PostgreSQL and Redis have it, the simulation's
models too."""

from collections.abc import Sequence
from typing import Protocol

from asyncpg import InterfaceError, PostgresError

from b3os.errors import B3osError
from b3os.queue.task import Task
from b3os.store import run_reads, runs, sweep
from b3os.store.pool import Pool
from b3os.store.runs import RunCommit, RunRow
from b3os.store.sweep import Look, Page, Ready

#: What the outside may do to a role: it logs and goes on.
FAILURES = (OSError, PostgresError, InterfaceError, B3osError)


class EngineStore(Protocol):
    """Runs, their leases and timers, as the worker's roles use them."""

    async def claim(self, run_ids: Sequence[str], owner: str, ttl_s: float) -> list[RunRow]: ...
    async def renew(self, owner: str, ttl_s: float) -> set[tuple[str, str]]: ...
    async def commit(self, batch: Sequence[RunCommit]) -> list[int | None]: ...
    async def cancel(self, org_id: str, run_id: str) -> None: ...
    async def give_back(self, owner: str) -> list[Ready]: ...
    async def let_go(self, owner: str, run_ids: Sequence[str]) -> list[Ready]: ...
    async def look(self) -> Look: ...
    async def fire_due_timers(self, limit: int) -> tuple[list[Ready], int]: ...
    async def take_from_the_dead(self, limit: int) -> list[Ready]: ...
    async def lost(self, after: str, *, orgs: int, each: int) -> Page: ...
    async def feed(self, after: str, *, orgs: int, limit: int) -> Page: ...
    async def lead(self, owner: str, ttl_s: float) -> bool: ...
    async def abdicate(self, owner: str) -> None: ...
    async def forget_workers(self) -> None: ...


class Queue(Protocol):
    """The queue, as the worker's roles use it."""

    async def enqueue(self, tasks: Sequence[Task]) -> list[bool]: ...
    async def restore(self, tasks: Sequence[Task]) -> list[bool]: ...
    async def dequeue(self, limit: int) -> list[Task]: ...
    async def wait(self, wait_s: float) -> bool: ...
    async def call_feeder(self) -> None: ...
    async def extend(self, tasks: Sequence[Task]) -> list[bool]: ...
    async def done(self, tasks: Sequence[Task]) -> int: ...
    async def requeue(self, tasks: Sequence[Task]) -> int: ...
    async def retry(self, tasks: Sequence[Task], error: str, delay_s: int) -> int: ...
    async def archive(self, tasks: Sequence[Task], error: str) -> int: ...
    async def forward(self) -> int: ...
    async def recover(self) -> int: ...
    async def tidy(self) -> int: ...


class PostgresStore:
    """The engine's store in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, run_ids: Sequence[str], owner: str, ttl_s: float) -> list[RunRow]:
        """Take runs that are free."""
        return await runs.claim(self._pool, run_ids, owner, ttl_s)

    async def renew(self, owner: str, ttl_s: float) -> set[tuple[str, str]]:
        """Renew an owner's lease; returns the runs still held."""
        return await runs.renew_runs(self._pool, owner, ttl_s)

    async def commit(self, batch: Sequence[RunCommit]) -> list[int | None]:
        """Store what runs did."""
        return await runs.commit(self._pool, batch)

    async def cancel(self, org_id: str, run_id: str) -> None:
        """End a run; raises Conflict when it has ended."""
        await run_reads.cancel_run(self._pool, org_id, run_id)

    async def give_back(self, owner: str) -> list[Ready]:
        """Free all runs of an owner."""
        return await sweep.give_back(self._pool, owner)

    async def let_go(self, owner: str, run_ids: Sequence[str]) -> list[Ready]:
        """Free some runs of an owner."""
        return await sweep.let_go(self._pool, owner, run_ids)

    async def look(self) -> Look:
        """See what is to be done."""
        return await sweep.look(self._pool)

    async def fire_due_timers(self, limit: int) -> tuple[list[Ready], int]:
        """Complete nodes whose timer is due."""
        return await sweep.fire_due_timers(self._pool, limit)

    async def take_from_the_dead(self, limit: int) -> list[Ready]:
        """Free the runs of dead owners."""
        return await sweep.take_from_the_dead(self._pool, limit)

    async def lost(self, after: str, *, orgs: int, each: int) -> Page:
        """Find runs that the queue lost."""
        return await sweep.lost(self._pool, after, orgs=orgs, each=each)

    async def feed(self, after: str, *, orgs: int, limit: int) -> Page:
        """Hand over runs that wait."""
        return await sweep.feed(self._pool, after, orgs=orgs, limit=limit)

    async def lead(self, owner: str, ttl_s: float) -> bool:
        """Become or stay the one that sweeps."""
        return await sweep.lead(self._pool, owner, ttl_s)

    async def abdicate(self, owner: str) -> None:
        """Let another sweep."""
        await sweep.abdicate(self._pool, owner)

    async def forget_workers(self) -> None:
        """Drop the rows of workers that ended long ago."""
        await sweep.forget_workers(self._pool)
