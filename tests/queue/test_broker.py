"""The queue on a real Valkey: once per id, lanes in order, lost leases, waking without polling."""

import asyncio

import pytest
import redis.asyncio

from b3os.errors import Unavailable
from b3os.queue.broker import Broker, Task


def task(id_: str, lane: str = "default") -> Task:
    return Task(id_, "wf:run", b"{}", lane)


async def test_same_id_is_queued_once_until_done(redis_url: str) -> None:
    broker = Broker(redis_url)
    assert await broker.enqueue([task("a"), task("b")]) == [True, True]
    assert await broker.enqueue([task("a")]) == [False]
    taken = await broker.dequeue(10, 0)
    assert [t.id for t in taken] == ["a", "b"]
    assert await broker.enqueue([task("a")]) == [False]
    await broker.done(taken)
    assert await broker.enqueue([task("a")]) == [True]
    await broker.close()


async def test_critical_goes_first(redis_url: str) -> None:
    broker = Broker(redis_url)
    await broker.enqueue([task("slow"), task("fast", "critical")])
    assert [t.id for t in await broker.dequeue(10, 0)] == ["fast", "slow"]
    await broker.close()


async def test_idle_worker_is_woken(redis_url: str) -> None:
    broker, other = Broker(redis_url), Broker(redis_url)
    waiting = asyncio.ensure_future(broker.dequeue(1, 20))
    await other.enqueue([task("x")])
    assert [t.id for t in await asyncio.wait_for(waiting, 10)] == ["x"]
    await broker.close()
    await other.close()


async def test_lost_lease_goes_back(redis_url: str) -> None:
    broker = Broker(redis_url)
    await broker.enqueue([task("x")])
    await broker.dequeue(1, 0)
    client = redis.asyncio.Redis.from_url(redis_url)
    await client.zadd("asynq:{default}:lease", {"x": 1})
    assert await broker.recover() == 1
    assert [t.id for t in await broker.dequeue(1, 0)] == ["x"]
    await client.aclose()
    await broker.close()


async def test_dead_redis_is_said() -> None:
    broker = Broker("unix:///nowhere.sock")
    with pytest.raises(Unavailable):
        await broker.enqueue([task("x")])
    await broker.close()
