"""Taking tasks: runs that left the hands before their claim was decided make room again, whatever becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from b3os.handover import task_of
from b3os.queue.broker import Broker
from b3os.run.queued import RunTask
from b3os.store.pool import Pool, open_pool
from b3os.store.runs import RunRow
from services.worker.hands import Hands
from services.worker.ports import PostgresStore
from services.worker.sweeper import Sweeper
from services.worker.taker import Taker


class Hasty:
    """A runner whose runs leave at once and commit nothing."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def go_on(self, row: RunRow) -> None:
        self.seen.append(row.id)


class Place:
    """A worker's taker that holds two runs, and three runs in the queue."""

    def __init__(self, pool: Pool, redis_url: str) -> None:
        self.broker, self.runner = Broker(redis_url), Hasty()
        store = PostgresStore(pool)
        hands = Hands(store, self.runner, owner="w1", limit=2)  # type: ignore[arg-type]
        sweeper = Sweeper(store, self.broker, "w1", asyncio.get_running_loop().time)
        self.taker = Taker(store, self.broker, sweeper, hands, owner="w1", lease_s=6.0)
        self.stop = asyncio.Event()

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        for _ in range(400):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(what)


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    pool = await open_pool(pg_url)
    found = Place(pool, redis_url)
    runs = [RunTask("org_a", f"run_{n}", "wf_a", 1, "root", "webhook", 1, {"n": n}) for n in range(3)]
    await found.broker.enqueue([task_of(run, "webhook") for run in runs])
    taking = asyncio.ensure_future(found.taker.take(found.stop))
    await found.until(lambda: len(found.runner.seen) == 2, "the first two runs were begun")
    await asyncio.sleep(0)
    yield found
    found.stop.set()
    await asyncio.wait_for(taking, 10)
    await found.broker.close()
    await pool.close()


async def test_a_decided_claim_makes_room(place: Place) -> None:
    assert len(place.runner.seen) == 2, "runs that left unclaimed still count"
    for run_id in list(place.runner.seen):
        place.taker.decided(run_id)
    await place.until(lambda: "run_2" in place.runner.seen, "the third run is begun")
    await place.taker.finish()


async def test_tasks_that_are_given_back_make_room(place: Place) -> None:
    await place.taker.give_back()
    await place.until(lambda: len(place.runner.seen) == 4, "two more are begun")


async def test_a_task_of_an_older_version_is_claimed_first(place: Place) -> None:
    old = task_of(RunTask("org_a", "run_old", "wf_a", 1, trigger={"n": 1}), "webhook")
    await place.broker.enqueue([old])
    for run_id in ("run_0", "run_1", "run_2"):
        await place.until(lambda run_id=run_id: run_id in place.runner.seen, f"{run_id} is begun")  # type: ignore[misc]
        place.taker.decided(run_id)
    async with asyncio.timeout(10):
        while await place.broker.enqueue([old]) == [False]:
            await asyncio.sleep(0.01)
    assert "run_old" not in place.runner.seen, "nobody has accepted it, and what its task lacks is not made up"
