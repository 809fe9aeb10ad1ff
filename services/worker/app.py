"""The worker on one screen: take tasks, hold leases, run them, keep timers going.

Roles: `taker` pulls run ids from the queue, `renewer` keeps leases alive, `sweeper` re-pushes runs nobody holds and
fires due timers. Postgres owns liveness: the queue may lose everything and no run is lost.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from asyncpg import Pool

from b3os.errors import B3osError
from b3os.ids import new_id
from b3os.logs import bind
from b3os.queue.broker import Broker, Task
from b3os.settings import Settings
from b3os.store import runs
from b3os.stream.publish import Publisher
from services.worker.commit import CommitGroup
from services.worker.dispatch import ActionsClient
from services.worker.runner import Runner

log = logging.getLogger("b3os.worker")

LEASE_S = 6
RENEW_S = 2.0
SWEEP_S = 1.0
SWEEP_LIMIT = 500
#: How often tasks of workers that died between taking and claiming are put back.
RECOVER_S = 5.0
#: A run this young is most likely on its way through the queue.
ORPHAN_AGE_S = 2.0
#: Runs in hand at once; a run that only waits on an action costs a coroutine and little else.
CONCURRENCY = 200
TAKE_LIMIT = 64


class RunTask(msgspec.Struct, frozen=True, rename="camel"):
    """The payload of a `wf:run` task: which run to go on with."""

    org_id: str
    run_id: str


class Worker:
    """One worker process: owns its leases under `owner` until it stops."""

    def __init__(self, *, pool: Pool, settings: Settings, stop: asyncio.Event) -> None:
        self.pool = pool
        self.stop = stop
        self.owner = new_id("worker")
        self.broker = Broker(settings.redis_ops_url)
        self.publisher = Publisher(settings.redis_ops_url)
        self.commits = CommitGroup(pool, self.publisher)
        self.actions = ActionsClient(settings.actions_url, settings.internal_key)
        self.runner = Runner(pool=pool, commits=self.commits, actions=self.actions, master_key=settings.master_key)
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def serve(self) -> None:
        """Run until `stop`; leaves every lease released or soon to expire."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self.commits.serve()),
                group.create_task(self._every(RENEW_S, self._renew)),
                group.create_task(self._every(SWEEP_S, self._sweep)),
                group.create_task(self._every(RECOVER_S, self._recover)),
            ]
            taker = group.create_task(self._take(group))
            await self.stop.wait()
            for task in (taker, *background):
                task.cancel()
        await self.actions.close()
        await self.broker.close()
        await self.publisher.close()

    async def _take(self, group: asyncio.TaskGroup) -> None:
        while not self.stop.is_set():
            await self._slots.acquire()
            self._slots.release()
            try:
                tasks = await self.broker.dequeue(TAKE_LIMIT, wait_s=1.0)
            except (OSError, B3osError) as error:
                log.warning("queue unreachable", extra={"error": str(error)})
                await asyncio.sleep(0.5)
                continue
            if tasks:
                await self._begin(tasks, group)

    async def _begin(self, tasks: list[Task], group: asyncio.TaskGroup) -> None:
        wanted: dict[str, Task] = {}
        for task in tasks:
            try:
                wanted[msgspec.json.decode(task.payload, type=RunTask).run_id] = task
            except msgspec.DecodeError:
                log.error("task payload is not ours", extra={"task": task.id})
        rows = await runs.claim(self.pool, [r for r in wanted if r not in self._in_hand], self.owner, LEASE_S)
        # The lease in Postgres is now the truth; the queue entry has done its work.
        await self.broker.done(tasks)
        for row in rows:
            self._in_hand[row.id] = group.create_task(self._go(row))

    async def _go(self, row: runs.RunRow) -> None:
        bind(org=row.org_id, workflow=row.workflow_id, run=row.id)
        async with self._slots:
            try:
                await self.runner.go_on(row)
            except asyncio.CancelledError:
                raise
            except Exception:
                # The lease lapses and the sweeper gives the run to the next owner.
                log.exception("run stopped")
            finally:
                self._in_hand.pop(row.id, None)

    async def _renew(self) -> None:
        if self._in_hand:
            held = await runs.renew_runs(self.pool, self.owner, LEASE_S)
            # Another owner has these: their next commit would be refused, so stop them now.
            for run_id in set(self._in_hand) - {run_id for _, run_id in held}:
                self._in_hand[run_id].cancel()

    async def _sweep(self) -> None:
        woken = await runs.fire_due_timers(self.pool, SWEEP_LIMIT)
        woken += await runs.orphans(self.pool, SWEEP_LIMIT, min_age_s=ORPHAN_AGE_S)
        if woken:
            await self.broker.enqueue([run_task(org_id, run_id) for org_id, run_id in woken])

    async def _recover(self) -> None:
        await self.broker.recover()

    async def _every(self, period_s: float, step: Callable[[], Awaitable[None]]) -> None:
        while not self.stop.is_set():
            try:
                await step()
            except (OSError, B3osError) as error:
                log.warning("step failed", extra={"error": str(error)})
            await asyncio.sleep(period_s)


def run_task(org_id: str, run_id: str) -> Task:
    """Make the task that hands a run to whichever worker is free."""
    payload = msgspec.json.encode(RunTask(org_id=org_id, run_id=run_id))
    return Task(id=run_id, type="wf:run", payload=payload, lane="default")
