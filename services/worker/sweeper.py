"""Role: keep runs moving. Fires timers, hands over what waits, finds what nobody holds, tidies the queue.

One worker leads under a lease and looks once a second; whoever has nothing to do may feed. Everything here may be done
twice or by two at once: ids make a task single, and a claim decides who runs it.
"""

import logging
from collections.abc import Callable

from b3os.errors import TooMany
from b3os.handover import task_of
from b3os.queue.task import Task
from b3os.run.queued import RunTask
from b3os.store.sweep import Ready
from services.worker.ports import EngineStore, Queue

log = logging.getLogger("b3os.sweeper")

SWEEP_S = 1.0
#: The lease is short, so that a dead leader's runs are found in time; losing it needlessly costs nothing.
LEAD_S = 6.0
RENEW_S = 4.0
TIMER_LIMIT = 500
#: A page of organizations, and what one of them gets of it.
ORGS = 200
EACH = 50
FEED_LIMIT = 1000
#: How often scheduled and retried tasks are moved, as in Asynq.
FORWARD_S = 5.0
#: How often tasks of workers that died between taking and claiming are put back; the runs are found sooner.
RECOVER_S = 15.0
TIDY_S = 60.0
FORGET_S = 3600.0


class Sweeper:
    """The rules of sweeping; `now` is monotonic seconds."""

    def __init__(self, store: EngineStore, queue: Queue, owner: str, now: Callable[[], float]) -> None:
        self._store = store
        self._queue = queue
        self._owner = owner
        self._now = now
        self._is_leader = False
        self._next: dict[str, float] = {}
        self._lost_after = ""
        self._fed_after = ""
        #: Runs waited for room when this worker looked last: one that ends may make room for them.
        self.is_backlog = False

    async def step(self) -> None:
        """Sweep once, if this worker leads."""
        if self._is_time("lead", RENEW_S if self._is_leader else SWEEP_S):
            self._is_leader = await self._store.lead(self._owner, LEAD_S)
        if not self._is_leader:
            return
        look = await self._store.look()
        if look.is_due:
            await self._fire()
        if look.is_dead:
            await self._queue_again(await self._store.take_from_the_dead(FEED_LIMIT))
        if look.is_lost:
            page = await self._store.lost(self._lost_after, orgs=ORGS, each=EACH)
            self._lost_after = page.last
            await self._queue_again(page.ready)
        if look.is_waiting:
            await self.feed()
        await self._tend_queue()
        if self._is_time("forget", FORGET_S):
            await self._store.forget_workers()

    async def feed(self) -> int:
        """Hand over runs that wait for room, the organizations in turn; returns how many."""
        page = await self._store.feed(self._fed_after, orgs=ORGS, limit=FEED_LIMIT)
        self._fed_after = page.last
        self.is_backlog = page.is_waiting
        await self._put(page.ready)
        return len(page.ready)

    async def stop(self) -> None:
        """Let another lead at once."""
        if self._is_leader:
            self._is_leader = False
            await self._store.abdicate(self._owner)

    async def _fire(self) -> None:
        count = TIMER_LIMIT
        while count == TIMER_LIMIT:
            ready, count = await self._store.fire_due_timers(TIMER_LIMIT)
            await self._put(ready)

    async def _tend_queue(self) -> None:
        if self._is_time("forward", FORWARD_S):
            await self._queue.forward()
        if self._is_time("recover", RECOVER_S):
            await self._queue.recover()
        if self._is_time("tidy", TIDY_S):
            await self._queue.tidy()

    async def _put(self, ready: list[Ready]) -> None:
        if ready:
            try:
                await self._queue.enqueue([run_task(one) for one in ready])
            except TooMany as error:
                # What found no room is looked for again in a few seconds, as if it were lost.
                log.warning("queue full", extra={"error": error.message})

    async def _queue_again(self, ready: list[Ready]) -> None:
        if ready:
            log.info("runs queued again", extra={"count": len(ready)})
            try:
                await self._queue.restore([run_task(one) for one in ready])
            except TooMany as error:
                log.warning("queue full", extra={"error": error.message})

    def _is_time(self, what: str, period_s: float) -> bool:
        now = self._now()
        if now < self._next.get(what, now):
            return False
        self._next[what] = now + period_s
        return True


def run_task(ready: Ready) -> Task:
    """Make the task that hands a run to whichever worker is free."""
    return task_of(RunTask(ready.org_id, ready.id), ready.source)
