"""The queue as dictionaries: what the Lua scripts do, in plain words. Passes the contract that the broker passes."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from b3os.errors import TooMany
from b3os.queue.broker import BUSY_S, LANE_LIMIT, LEASE_S
from b3os.queue.calls import ARCHIVE_KEPT_S, NS
from b3os.queue.keys import LANES
from b3os.queue.lanes import Turns
from b3os.queue.lua import RUNS, TASKS
from b3os.queue.task import Task, failed, is_spent, message_of

Asks = Callable[[Callable[[], Any]], Awaitable[Any]]


class Lane:
    """One lane's keys."""

    def __init__(self) -> None:
        self.pending: deque[str] = deque()  # taken from the left
        self.active: set[str] = set()
        self.lease: dict[str, int] = {}
        self.waiting: dict[str, int] = {}  # scheduled and retry
        self.archived: dict[str, int] = {}
        self.tasks: dict[str, tuple[Task, str]] = {}
        self.is_paused = False


class QueueState:
    """What the ops Redis holds; `clear` is FLUSHALL."""

    def __init__(self) -> None:
        self.lanes = {name: Lane() for name in LANES}
        self.wakes: deque[bytes] = deque(maxlen=64)
        self.sleepers: deque[asyncio.Future[bytes]] = deque()

    def clear(self) -> None:
        """Lose everything."""
        self.lanes = {name: Lane() for name in LANES}
        self.wakes.clear()

    def wake(self, why: bytes) -> None:
        """Wake one sleeper, whether or not its process still lives."""
        while self.sleepers:
            sleeper = self.sleepers.popleft()
            if not sleeper.done():
                sleeper.set_result(why)
                return
        self.wakes.append(why)


async def at_once(act: Callable[[], Any]) -> Any:
    """Ask a server that is always there."""
    return act()


class ModelQueue:
    """One process's broker."""

    def __init__(
        self, state: QueueState, now_ns: Callable[[], int], *, ask: Asks = at_once, lane_limit: int = LANE_LIMIT
    ) -> None:
        self._state = state
        self._now_ns = now_ns
        self._ask = ask
        self._limit = lane_limit
        self._turns = Turns()
        self._busy_until = 0

    def _now(self) -> int:
        return self._now_ns() // NS

    async def enqueue(self, tasks: Sequence[Task]) -> list[bool]:
        """Put tasks that are not there into the line."""
        return await self._put(tasks, lambda lane, task: self._enqueue(lane, task))

    async def restore(self, tasks: Sequence[Task]) -> list[bool]:
        """Put back tasks that nobody works on."""
        return await self._put(tasks, lambda lane, task: self._restore(lane, task))

    async def _put(self, tasks: Sequence[Task], put: Callable[[Lane, Task], int]) -> list[bool]:
        def act() -> list[int]:
            made = [put(self._state.lanes[task.lane], task) for task in tasks]
            if made:
                self._state.wake(TASKS)
            return made

        made = await self._ask(act)
        if -1 in made:
            self._busy_until = self._now_ns() + int(BUSY_S * NS)
            raise TooMany("full", code=429010)
        return [number == 1 for number in made]

    def _enqueue(self, lane: Lane, task: Task) -> int:
        if task.id in lane.tasks:
            return 0
        if len(lane.pending) >= self._limit:
            return -1
        lane.tasks[task.id] = (task, "pending")
        lane.pending.append(task.id)
        return 1

    def _restore(self, lane: Lane, task: Task) -> int:
        state = lane.tasks.get(task.id, (task, ""))[1]
        if (state == "pending" and task.id in lane.pending) or lane.lease.get(task.id, 0) > self._now():
            return 0
        for where in (lane.lease, lane.waiting, lane.archived):
            where.pop(task.id, None)
        lane.active.discard(task.id)
        lane.tasks.pop(task.id, None)
        return self._enqueue(lane, task)

    async def schedule(self, tasks: Sequence[Task], at_s: int) -> list[bool]:
        """Put tasks aside until a time."""

        def act() -> list[bool]:
            made = []
            for task in tasks:
                lane = self._state.lanes[task.lane]
                made.append(task.id not in lane.tasks)
                if made[-1]:
                    lane.tasks[task.id] = (task, "scheduled")
                    lane.waiting[task.id] = at_s
            return made

        return list(await self._ask(act))

    def check_room(self) -> None:
        """Raise TooMany while a lane is known to be full."""
        if self._now_ns() < self._busy_until:
            raise TooMany("full", code=429010)

    async def call_feeder(self) -> None:
        """Tell a worker that runs wait."""
        await self._ask(lambda: self._state.wake(RUNS))

    async def wait(self, wait_s: float) -> bool:
        """Sleep until something is queued."""

        def act() -> bytes | None:
            return self._state.wakes.popleft() if self._state.wakes else None

        why = await self._ask(act)
        if why is None:
            sleeper: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._state.sleepers.append(sleeper)
            try:
                why = await asyncio.wait_for(sleeper, wait_s)
            except TimeoutError:
                return False
        return bool(why == RUNS)

    async def dequeue(self, limit: int) -> list[Task]:
        """Take tasks, the lanes by weight."""
        expiry, shares = self._now() + LEASE_S, self._turns.share(limit)

        def act() -> list[Task]:
            found = [task for lane, count in shares.items() for task in self._take(lane, count, expiry)]
            for lane in shares:
                found += self._take(lane, limit - len(found), expiry)
            return found

        return list(await self._ask(act))

    def _take(self, name: str, count: int, expiry: int) -> list[Task]:
        lane = self._state.lanes[name]
        found: list[Task] = []
        while not lane.is_paused and lane.pending and len(found) < count:
            task_id = lane.pending.popleft()
            task, _ = lane.tasks[task_id]
            lane.tasks[task_id] = (task, "active")
            lane.active.add(task_id)
            lane.lease[task_id] = expiry
            found.append(msgspec.structs.replace(task, message=message_of(task)))
        return found

    async def extend(self, tasks: Sequence[Task]) -> list[bool]:
        """Renew leases."""

        def act() -> list[bool]:
            held = []
            for task in tasks:
                lease = self._state.lanes[task.lane].lease
                held.append(task.id in lease)
                if held[-1]:
                    lease[task.id] = self._now() + LEASE_S
            return held

        return list(await self._ask(act))

    async def done(self, tasks: Sequence[Task]) -> int:
        """Finish taken tasks."""
        return await self._leave(tasks, lambda lane, task: lane.tasks.pop(task.id))

    async def requeue(self, tasks: Sequence[Task]) -> int:
        """Give taken tasks back."""
        return await self._leave(tasks, self._back)

    async def _leave(self, tasks: Sequence[Task], then: Callable[[Lane, Task], Any]) -> int:
        def act() -> int:
            count = 0
            for task in tasks:
                lane = self._state.lanes[task.lane]
                if task.id in lane.active:
                    count += 1
                    lane.active.discard(task.id)
                    lane.lease.pop(task.id, None)
                    then(lane, task)
            return count

        return int(await self._ask(act))

    def _back(self, lane: Lane, task: Task) -> None:
        lane.tasks[task.id] = (task, "pending")
        lane.pending.appendleft(task.id)
        self._state.wake(TASKS)

    async def retry(self, tasks: Sequence[Task], error: str, delay_s: int) -> int:
        """Try failed tasks again later, or give them up."""

        def later(lane: Lane, task: Task) -> None:
            told = msgspec.structs.replace(task, message=failed(task, error, self._now()))
            lane.tasks[task.id] = (told, "retry")
            lane.waiting[task.id] = self._now() + delay_s

        again = await self._leave([task for task in tasks if not is_spent(task)], later)
        return again + await self.archive([task for task in tasks if is_spent(task)], error)

    async def archive(self, tasks: Sequence[Task], error: str) -> int:
        """Give tasks up."""

        def keep(lane: Lane, task: Task) -> None:
            lane.tasks[task.id] = (task, "archived")
            lane.archived[task.id] = self._now()

        return await self._leave(tasks, keep)

    async def forward(self) -> int:
        """Move tasks whose time has come."""
        return await self._move(lambda lane: lane.waiting, lambda lane, task_id: lane.pending.append(task_id))

    async def recover(self) -> int:
        """Put back tasks whose lease ran out."""
        return await self._move(lambda lane: lane.lease, lambda lane, task_id: lane.pending.appendleft(task_id))

    async def _move(self, where: Callable[[Lane], dict[str, int]], put: Callable[[Lane, str], None]) -> int:
        def act() -> int:
            moved = 0
            for lane in self._state.lanes.values():
                for task_id in [key for key, at in where(lane).items() if at <= self._now()]:
                    del where(lane)[task_id]
                    lane.active.discard(task_id)
                    lane.tasks[task_id] = (lane.tasks[task_id][0], "pending")
                    put(lane, task_id)
                    moved += 1
            if moved:
                self._state.wake(TASKS)
            return moved

        return int(await self._ask(act))

    async def tidy(self) -> int:
        """Forget archived tasks whose time is over."""

        def act() -> int:
            gone = 0
            for lane in self._state.lanes.values():
                for task_id in [key for key, at in lane.archived.items() if at <= self._now() - ARCHIVE_KEPT_S]:
                    del lane.archived[task_id], lane.tasks[task_id]
                    gone += 1
            return gone

        return int(await self._ask(act))

    async def pause(self, lane: str) -> bool:
        """Stop a lane."""
        was = self._state.lanes[lane].is_paused
        self._state.lanes[lane].is_paused = True
        return not was

    async def unpause(self, lane: str) -> bool:
        """Let a lane go on."""
        was = self._state.lanes[lane].is_paused
        self._state.lanes[lane].is_paused = False
        self._state.wake(TASKS)
        return was
