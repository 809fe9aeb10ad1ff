"""What a queue must do, whatever it is made of: the real broker and the simulation's model pass the same tests."""

from typing import Any

import pytest

from b3os.errors import TooMany
from b3os.queue.broker import Task

START_NS = 1_790_000_000_000_000_000


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.ns = START_NS

    def __call__(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


def task(id_: str, lane: str = "default") -> Task:
    return Task(id_, "wf:run", b"{}", lane)


def ids(tasks: list[Task]) -> list[str]:
    return [one.id for one in tasks]


class QueueContract:
    """Subclasses give the fixtures `clock` and `queue`; `queue` has room for 100 tasks a lane."""

    async def test_same_id_is_queued_once_until_done(self, queue: Any) -> None:
        assert await queue.enqueue([task("a"), task("b")]) == [True, True]
        assert await queue.enqueue([task("a"), task("c", "critical")]) == [False, True]
        taken = await queue.dequeue(10)
        assert sorted(ids(taken)) == ["a", "b", "c"]
        assert await queue.enqueue([task("a")]) == [False]
        assert await queue.done(taken) == 3
        assert await queue.done(taken) == 0
        assert await queue.enqueue([task("a")]) == [True]

    async def test_lanes_are_taken_six_to_one_and_neither_starves(self, queue: Any) -> None:
        for lane in ("critical", "default"):
            await queue.enqueue([task(f"{lane[0]}{n}", lane) for n in range(70)])
        one_by_one = [ids(await queue.dequeue(1))[0][0] for _ in range(14)]
        assert one_by_one.count("d") == 2
        batch = await queue.dequeue(56)
        assert [one.lane for one in batch].count("default") == 8

    async def test_what_one_lane_leaves_goes_to_the_other(self, queue: Any) -> None:
        await queue.enqueue([*(task(f"d{n}") for n in range(20)), task("c", "critical")])
        assert len(await queue.dequeue(14)) == 14
        assert len(await queue.dequeue(14)) == 7

    async def test_lost_lease_goes_back_first(self, queue: Any, clock: Clock) -> None:
        await queue.enqueue([task("a"), task("b")])
        await queue.dequeue(1)
        clock.advance(3)
        assert await queue.recover() == 0
        clock.advance(4)
        assert await queue.recover() == 1
        assert ids(await queue.dequeue(2)) == ["a", "b"]

    async def test_renewed_lease_stays_and_a_lost_one_is_told(self, queue: Any, clock: Clock) -> None:
        await queue.enqueue([task("a"), task("b")])
        one = await queue.dequeue(1)
        clock.advance(4)
        assert await queue.extend(one) == [True]
        clock.advance(4)
        assert await queue.recover() == 0
        clock.advance(4)
        assert await queue.recover() == 1
        assert await queue.extend(one) == [False]
        assert await queue.done(one) == 0

    async def test_requeued_task_is_next(self, queue: Any) -> None:
        await queue.enqueue([task("a"), task("b")])
        assert await queue.requeue(await queue.dequeue(1)) == 1
        assert ids(await queue.dequeue(2)) == ["a", "b"]

    async def test_retried_task_comes_back_when_its_time_has_come(self, queue: Any, clock: Clock) -> None:
        await queue.enqueue([task("a")])
        assert await queue.retry(await queue.dequeue(1), "no database", 10) == 1
        clock.advance(9)
        assert await queue.forward() == 0
        assert await queue.enqueue([task("a")]) == [False]
        clock.advance(2)
        assert await queue.forward() == 1
        [again] = await queue.dequeue(1)
        assert again.message is not None
        assert (again.message.retried, again.message.error_msg) == (1, "no database")

    async def test_task_past_its_retries_is_archived(self, queue: Any, clock: Clock) -> None:
        await queue.enqueue([task("a")])
        for _ in range(25):
            assert await queue.retry(await queue.dequeue(1), "again", 1) == 1
            clock.advance(2)
            await queue.forward()
        assert await queue.retry(await queue.dequeue(1), "again", 1) == 1
        clock.advance(2)
        assert await queue.forward() == 0
        assert await queue.tidy() == 0
        clock.advance(91 * 24 * 3600)
        assert await queue.tidy() == 1

    async def test_scheduled_task_waits(self, queue: Any, clock: Clock) -> None:
        at = clock.ns // 10**9 + 30
        assert await queue.schedule([task("a"), task("b", "critical")], at) == [True, True]
        assert await queue.schedule([task("a")], at) == [False]
        assert await queue.dequeue(5) == []
        clock.advance(31)
        assert await queue.forward() == 2
        assert len(await queue.dequeue(5)) == 2

    async def test_paused_lane_rests(self, queue: Any) -> None:
        await queue.enqueue([task("a"), task("b", "critical")])
        assert await queue.pause("default")
        assert not await queue.pause("default")
        assert ids(await queue.dequeue(5)) == ["b"]
        assert await queue.unpause("default")
        assert ids(await queue.dequeue(5)) == ["a"]

    async def test_full_lane_answers_busy_and_keeps_what_it_has(self, queue: Any, clock: Clock) -> None:
        queue.check_room()
        with pytest.raises(TooMany):
            await queue.enqueue([task(f"t{n}") for n in range(101)])
        with pytest.raises(TooMany):
            queue.check_room()
        assert len(await queue.dequeue(200)) == 100
        clock.advance(2)
        queue.check_room()
        assert await queue.enqueue([task("t100")]) == [True]

    async def test_restore_leaves_what_is_queued_or_taken(self, queue: Any, clock: Clock) -> None:
        await queue.enqueue([task("a"), task("b")])
        await queue.dequeue(1)
        assert await queue.restore([task("a"), task("b"), task("c")]) == [False, False, True]
        assert ids(await queue.dequeue(5)) == ["b", "c"]

    async def test_restore_takes_over_a_lease_that_ran_out(self, queue: Any, clock: Clock) -> None:
        await queue.enqueue([task("a")])
        await queue.dequeue(1)
        clock.advance(7)
        assert await queue.restore([task("a")]) == [True]
        assert await queue.recover() == 0
        assert ids(await queue.dequeue(5)) == ["a"]

    async def test_waiting_ends_when_something_comes(self, queue: Any) -> None:
        await queue.enqueue([task("a")])
        assert await queue.wait(20) is False
        await queue.call_feeder()
        assert await queue.wait(20) is True
