"""Role: take tasks while there is room, and start their runs.

The lease in PostgreSQL decides who runs; the queue entry has done its work once the run is claimed. A task that carries
all of a run that was just accepted is begun at once, and the run's first commit claims it; any other run is claimed
first. A task that is not ours goes back for others, one that cannot be read is archived for a person to look at.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from b3os.errors import BadInput
from b3os.queue.task import Task
from b3os.run.queued import TYPE, RunTask, read_payload
from b3os.store.runs import Claim, RunRow
from services.worker.hands import Hands
from services.worker.ports import FAILURES, EngineStore, Queue
from services.worker.sweeper import Sweeper

log = logging.getLogger("b3os.worker")

TAKE_LIMIT = 64
#: Wake-ups come at once; this long a worker waits for a task of a producer that wakes nobody.
WAIT_S = 4.0
#: How soon an idle worker looks again while runs wait in the database for room in their organization's window.
HUNGRY_S = 0.1
#: A program that knows the task's type should have it by then.
FOREIGN_RETRY_S = 30
PAUSE_S = 0.5


class Taker:
    """Fills this worker's hands."""

    def __init__(
        self, store: EngineStore, queue: Queue, sweeper: Sweeper, hands: Hands, *, owner: str, lease_s: float
    ) -> None:
        self._store = store
        self._queue = queue
        self._sweeper = sweeper
        self._hands = hands
        self._claim = Claim(owner, lease_s)
        #: Tasks that wait for the claim of their runs, by run; those that were begun without one.
        self._claiming: dict[str, Task] = {}
        self._begun: dict[str, Task] = {}
        #: Tasks whose runs are claimed, and that the queue still holds.
        self._finished: list[Task] = []
        self._is_hungry = False
        #: A run of ours was let go since the last look at what waits for room.
        self._has_left = False

    async def take(self, stop: asyncio.Event) -> None:
        """Take until `stop`; waits while the hands are full."""
        room_made = self._hands.room_made
        while not stop.is_set():
            room_made.clear()
            if self._room() <= 0:
                await either(room_made.wait(), stop)
                continue
            try:
                if not await self.once():
                    heard = await either(self._queue.wait(HUNGRY_S if self._is_hungry else WAIT_S), stop)
                    self._is_hungry |= heard is True
            except FAILURES as error:
                log.warning("cannot take tasks", extra={"error": str(error)})
                await either(asyncio.sleep(PAUSE_S), stop)

    async def once(self) -> bool:
        """Take and start what there is; False when there was nothing to do."""
        tasks = await self._queue.dequeue(min(self._room(), TAKE_LIMIT))
        if tasks:
            await self._begin(tasks)
            return True
        if self._is_hungry:
            self._is_hungry = await self._sweeper.feed() > 0
            return self._is_hungry
        return False

    def decided(self, run_id: str) -> None:
        """Note that a run that was begun is claimed now, by us or by another."""
        task = self._begun.pop(run_id, None)
        if task is not None:
            self._finished.append(task)
            self._hands.room_made.set()

    def let_go(self) -> None:
        """Note that a run ended, or waits: its organization may have room for another."""
        self._has_left = True

    async def finish(self) -> None:
        """Finish the tasks whose runs are claimed; what the queue does not hear now is told the next time.

        Where runs wait for room, and one of ours may have made some, whoever is free is told to hand them over.
        """
        tasks, self._finished = self._finished, []
        if tasks:
            try:
                await self._queue.done(tasks)
            except BaseException:
                self._finished += tasks
                raise
        if self._has_left and self._sweeper.is_backlog:
            self._has_left = False
            await self._queue.call_feeder()

    async def extend(self) -> None:
        """Renew the leases of tasks whose runs are not yet claimed: the database may be slow.

        A run that left the hands unclaimed could not reach the database: its task goes back.
        """
        await self.give_back()
        taken = [*self._claiming.values(), *self._begun.values()]
        if taken:
            await self._queue.extend(taken)

    async def give_back(self) -> None:
        """Give back the tasks of runs that were begun, and left the hands unclaimed."""
        left = [self._begun.pop(run_id) for run_id in self._gone()]
        if left:
            self._hands.room_made.set()
            await self._queue.requeue(left)

    def _gone(self) -> list[str]:
        return [run_id for run_id in self._begun if not self._hands.holds(run_id)]

    def _room(self) -> int:
        return self._hands.room() - len(self._gone())

    async def _begin(self, tasks: Sequence[Task]) -> None:
        ours = [task for task in tasks if task.type == TYPE]
        foreign = [task for task in tasks if task.type != TYPE]
        if foreign:
            await self._queue.retry(foreign, f"this worker does only {TYPE} tasks", FOREIGN_RETRY_S)
        wanted: dict[str, Task] = {}
        for task, run in await self._read(ours):
            if run.trigger is not None and run.trigger_node and not self._hands.holds(run.run_id):
                self._begun[run.run_id] = task
                self._hands.start(begun(run, run.trigger, self._claim), task)
            else:
                wanted[run.run_id] = task
        if wanted:
            await self._claim_first(wanted)

    async def _claim_first(self, wanted: dict[str, Task]) -> None:
        self._claiming = wanted
        try:
            rows = await self._store.claim(list(wanted), self._claim.owner, self._claim.ttl_s)
        except Exception:
            await self._queue.requeue(list(wanted.values()))
            raise
        finally:
            self._claiming = {}
        for row in rows:
            self._hands.start(row, wanted[row.id])
        await self._queue.done(list(wanted.values()))

    async def _read(self, tasks: Sequence[Task]) -> list[tuple[Task, RunTask]]:
        told = []
        for task in tasks:
            try:
                told.append((task, read_payload(task.payload)))
            except BadInput as error:
                log.error("task cannot be read", extra={"task": task.id})
                await self._queue.archive([task], error.message)
        return told


def begun(run: RunTask, trigger: dict[str, Any], claim: Claim) -> RunRow:
    """Make the row of a run that was just accepted from what its task carries."""
    return RunRow(
        org_id=run.org_id,
        id=run.run_id,
        workflow_id=run.workflow_id,
        workflow_version=run.version,
        status="running",
        trigger_node=run.trigger_node,
        trigger_source=run.source,
        trigger_result=trigger,
        source_run_id=None,
        started_at=datetime.fromtimestamp(run.started_ms / 1000, UTC),
        finished_at=None,
        epoch=1,
        claim=claim,
    )


async def either(work: Any, stop: asyncio.Event) -> Any:
    """Await `work`, or give it up when `stop` is set."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)
