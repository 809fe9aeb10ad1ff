"""Role: take tasks while there is room, claim their runs, start them.

The lease in PostgreSQL decides who runs; the queue entry has done its work once the run is claimed. A task that is not
ours goes back for others, one that cannot be read is archived for a person to look at.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from b3os.errors import BadInput
from b3os.queue.task import Task
from b3os.run.handover import TYPE, read_payload
from b3os.store.runs import RunRow
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
    """Fills this worker's hands; `start` runs a claimed run, `room` says how many more it may hold."""

    def __init__(
        self,
        store: EngineStore,
        queue: Queue,
        sweeper: Sweeper,
        *,
        owner: str,
        lease_s: float,
        start: Callable[[RunRow, Task], None],
        room: Callable[[], int],
    ) -> None:
        self._store = store
        self._queue = queue
        self._sweeper = sweeper
        self._owner = owner
        self._lease_s = lease_s
        self._start = start
        self._room = room
        self._claiming: list[Task] = []
        self._is_hungry = False

    async def take(self, room_made: asyncio.Event, stop: asyncio.Event) -> None:
        """Take until `stop`; waits for `room_made` while the hands are full."""
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

    async def extend(self) -> None:
        """Renew the leases of tasks that are taken and not yet claimed: the database may be slow."""
        if self._claiming:
            await self._queue.extend(self._claiming)

    async def _begin(self, tasks: Sequence[Task]) -> None:
        ours = [task for task in tasks if task.type == TYPE]
        foreign = [task for task in tasks if task.type != TYPE]
        if foreign:
            await self._queue.retry(foreign, f"this worker does only {TYPE} tasks", FOREIGN_RETRY_S)
        wanted, carried = await self._read(ours)
        if not wanted:
            return
        self._claiming = list(wanted.values())
        try:
            rows = await self._store.claim(list(wanted), self._owner, self._lease_s, carried)
        except Exception:
            await self._queue.requeue(self._claiming)
            raise
        finally:
            claimed, self._claiming = self._claiming, []
        for row in rows:
            self._start(row, wanted[row.id])
        await self._queue.done(claimed)

    async def _read(self, tasks: Sequence[Task]) -> tuple[dict[str, Task], Mapping[str, dict[str, Any]]]:
        wanted: dict[str, Task] = {}
        carried: dict[str, dict[str, Any]] = {}
        for task in tasks:
            try:
                told = read_payload(task.payload)
            except BadInput as error:
                log.error("task cannot be read", extra={"task": task.id})
                await self._queue.archive([task], error.message)
                continue
            wanted[told.run_id] = task
            if told.trigger is not None:
                carried[told.run_id] = told.trigger
        return wanted, carried


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
