"""The queue: Asynq's keys and states, our scripts, whole batches a call.

Taking is not polling: an idle worker blocks on the wake list. A wake-up that is lost costs one wait, since the queue is
looked at again after each. Producers that know nothing of the wake list (Go's) wait that long as well.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from b3os import metrics
from b3os.errors import TooMany
from b3os.queue import calls
from b3os.queue.calls import KEYS, NS, Call
from b3os.queue.keys import LANES, QUEUES, WAKE
from b3os.queue.lanes import Turns
from b3os.queue.lua import RUNS, TASKS, ask, run_all
from b3os.queue.task import Task, is_spent, taken
from b3os.redis_link import open_link

__all__ = ["Broker", "Task"]

#: A taken task that is neither done nor renewed for this long goes back.
LEASE_S = 6
#: Tasks that may wait in one lane; a full lane answers "busy".
LANE_LIMIT = 100_000
#: How long a full lane is believed to be full without asking again.
BUSY_S = 1.0


class Broker:
    """The queue on the ops Redis; raises Unavailable when it cannot be reached."""

    def __init__(
        self, redis_url: str, *, lane_limit: int = LANE_LIMIT, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._link = open_link(redis_url)
        #: A link of its own for what blocks.
        self._sleeping = open_link(redis_url)
        self._lane_limit = lane_limit
        self._now_ns = now_ns
        self._turns = Turns()
        self._busy_until_ns = 0
        self._is_known = False

    async def enqueue(self, tasks: Sequence[Task]) -> list[bool]:
        """Put tasks into their lanes; False where the id is there already. TooMany if a lane had no room for some."""
        return await self._put(calls.enqueue, tasks)

    async def restore(self, tasks: Sequence[Task]) -> list[bool]:
        """Put back tasks that nobody works on, whatever part of them was lost; False where one is in the line."""
        return await self._put(calls.restore, tasks)

    async def schedule(self, tasks: Sequence[Task], at_s: int) -> list[bool]:
        """Put tasks aside until a time; False where the id is there already."""
        await self._announce()
        answers = await self._each(tasks, lambda lane, own: calls.schedule(lane, own, at_s))
        return [number == 1 for number in _in_order(tasks, answers)]

    def check_room(self) -> None:
        """Raise TooMany while a lane is known to be full, so that a caller may be told before anything is stored."""
        if self._now_ns() < self._busy_until_ns:
            raise TooMany("the queue is full: send this again in a few seconds", code=429010)

    async def call_feeder(self) -> None:
        """Tell a worker with nothing to do that runs wait in the database for room in the queue."""
        await run_all(self._link, [], wake=RUNS)

    async def dequeue(self, limit: int) -> list[Task]:
        """Take up to `limit` tasks that are there now, the lanes by weight."""
        expiry_s = self._now_ns() // NS + LEASE_S
        shares = self._turns.share(limit)
        found: list[Task] = []
        while shares:
            asked = [(lane, count) for lane, count in shares.items() if count]
            answers = await run_all(self._link, [calls.dequeue(lane, count, expiry_s) for lane, count in asked])
            for (lane, _), answer in zip(asked, answers, strict=True):
                found += [taken(data, lane) for data in answer]
            # What a lane left over goes to one that gave all it was asked for, or was not asked.
            full = [lane for (lane, count), answer in zip(asked, answers, strict=True) if len(answer) == count]
            rest = limit - len(found)
            shares = {lane: rest for lane in [*full, *(x for x, count in shares.items() if not count)][:1] if rest}
        return found

    async def wait(self, wait_s: float) -> bool:
        """Sleep until something is queued, at most so long; True when runs wait in the database for room."""
        (woken,) = await ask(self._sleeping, [("BLPOP", WAKE, wait_s)], wait_s=wait_s)
        return woken is not None and woken[1] == RUNS

    async def extend(self, tasks: Sequence[Task]) -> list[bool]:
        """Renew the leases of taken tasks; False where it ran out and the task went back."""
        expiry_s = self._now_ns() // NS + LEASE_S
        answers = await self._each(tasks, lambda lane, own: calls.extend(lane, own, expiry_s))
        return [number == 1 for number in _in_order(tasks, answers)]

    async def done(self, tasks: Sequence[Task]) -> int:
        """Finish taken tasks: they are forgotten, or kept for as long as their message says."""
        now_ns = self._now_ns()
        return _count("done", await self._each(tasks, lambda lane, own: calls.done(lane, own, now_ns)))

    async def requeue(self, tasks: Sequence[Task]) -> int:
        """Give taken tasks back unworked; they are the next to be taken."""
        now_ns = self._now_ns()
        return _count("back", await self._each(tasks, lambda lane, own: calls.requeue(lane, own, now_ns), wake=TASKS))

    async def retry(self, tasks: Sequence[Task], error: str, delay_s: int) -> int:
        """Try failed tasks again after a while; one that was retried as often as it may is archived."""
        now_ns, again = self._now_ns(), [task for task in tasks if not is_spent(task)]
        answers = await self._each(again, lambda lane, own: calls.retry(lane, own, now_ns, error, delay_s))
        return _count("retry", answers) + await self.archive([task for task in tasks if is_spent(task)], error)

    async def archive(self, tasks: Sequence[Task], error: str) -> int:
        """Give taken tasks up; they are kept 90 days for a person to look at."""
        now_ns = self._now_ns()
        return _count("archived", await self._each(tasks, lambda lane, own: calls.archive(lane, own, now_ns, error)))

    async def forward(self) -> int:
        """Move scheduled and retried tasks whose time has come into their lanes; returns how many."""
        return await self._upkeep(calls.forward)

    async def recover(self) -> int:
        """Put back tasks of workers that died between taking and finishing; returns how many."""
        return await self._upkeep(calls.recover)

    async def tidy(self) -> int:
        """Forget completed and archived tasks whose time is over; returns how many."""
        now_ns = self._now_ns()
        return sum(await run_all(self._link, [calls.tidy(lane, now_ns) for lane in LANES]))

    async def pause(self, lane: str) -> bool:
        """Stop a lane from being worked on, for every worker; False when it is paused already."""
        (was_set,) = await ask(self._link, [("SET", KEYS[lane].paused, self._now_ns() // NS, "NX")])
        return was_set is not None

    async def unpause(self, lane: str) -> bool:
        """Let a lane go on; False when it was not paused."""
        (removed,) = await ask(self._link, [("DEL", KEYS[lane].paused)])
        await run_all(self._link, [], wake=TASKS)
        return bool(removed)

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()
        await self._sleeping.close()

    async def _put(self, make: Callable[[str, list[Task], int, int], Call], tasks: Sequence[Task]) -> list[bool]:
        await self._announce()
        now_ns = self._now_ns()
        answers = await self._each(tasks, lambda lane, own: make(lane, own, now_ns, self._lane_limit), wake=TASKS)
        refused = 0
        for lane, numbers in answers.items():
            for outcome, number in (("queued", 1), ("known", 0), ("refused", -1)):
                metrics.TASKS.labels(lane, outcome).inc(numbers.count(number))
            refused += numbers.count(-1)
        if refused:
            self._busy_until_ns = now_ns + int(BUSY_S * NS)
            raise TooMany(f"the queue is full: {refused} tasks found no room", code=429010)
        return [number == 1 for number in _in_order(tasks, answers)]

    async def _each(
        self, tasks: Sequence[Task], make: Callable[[str, list[Task]], Call], *, wake: bytes = b""
    ) -> dict[str, Any]:
        """Run one script for each lane of the tasks, in one round trip; answers by lane."""
        groups: dict[str, list[Task]] = {}
        for task in tasks:
            groups.setdefault(task.lane, []).append(task)
        if not groups:
            return {}
        answers = await run_all(self._link, [make(lane, own) for lane, own in groups.items()], wake=wake)
        return dict(zip(groups, answers, strict=True))

    async def _upkeep(self, make: Callable[[str, int], Call]) -> int:
        now_ns = self._now_ns()
        moved: int = sum(await run_all(self._link, [make(lane, now_ns) for lane in LANES]))
        if moved:
            await run_all(self._link, [], wake=TASKS)
        return moved

    async def _announce(self) -> None:
        if not self._is_known:
            await ask(self._link, [("SADD", QUEUES, *LANES)])
            self._is_known = True


def _in_order(tasks: Sequence[Task], answers: dict[str, list[int]]) -> list[int]:
    """Give answers that came by lane in the order of the tasks."""
    left = {lane: iter(numbers) for lane, numbers in answers.items()}
    return [next(left[task.lane]) for task in tasks]


def _count(outcome: str, answers: dict[str, int]) -> int:
    for lane, number in answers.items():
        metrics.TASKS.labels(lane, outcome).inc(number)
    return sum(answers.values())
