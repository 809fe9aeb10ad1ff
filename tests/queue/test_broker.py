"""The queue on real servers: one Valkey, and a Valkey in cluster mode, where a script may touch one slot only."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio

from b3os.embedded.locate import valkey_server
from b3os.embedded.supervisor import free_port
from b3os.errors import BadInput, Unavailable
from b3os.queue.broker import Broker, Task
from b3os.queue.calls import KEYS
from b3os.queue.codec import TaskMessage, decode, encode
from b3os.redis_client import open_redis
from b3os.stream.events import RunEvent
from b3os.stream.follow import Follower
from b3os.stream.publish import Publisher
from tests.queue.contract import Clock, QueueContract, ids, task

SLOTS = 16384


async def answering(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def own_all_slots(port: int) -> None:
    await answering(port)
    async with redis.asyncio.Redis(port=port) as node:
        await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        async with asyncio.timeout(20):
            while (await node.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
                await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One node that owns every slot of a cluster: it refuses a command or script over two slots as any node would."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    port = free_port()
    node = subprocess.Popen(
        [
            *(str(valkey_server()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--save", "", "--loglevel", "warning"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        asyncio.run(own_all_slots(port))
        yield f"redis+cluster://127.0.0.1:{port}"
    finally:
        node.terminate()
        node.wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestOneServer(QueueContract):
    @pytest.fixture
    async def queue(self, redis_url: str, clock: Clock) -> AsyncIterator[Broker]:
        broker = Broker(redis_url, lane_limit=100, now_ns=clock)
        yield broker
        await broker.close()


class TestCluster(QueueContract):
    @pytest.fixture
    async def queue(self, cluster_url: str, clock: Clock) -> AsyncIterator[Broker]:
        client = open_redis(cluster_url)
        await client.flushall(target_nodes="primaries")
        await client.aclose()
        broker = Broker(cluster_url, lane_limit=100, now_ns=clock)
        yield broker
        await broker.close()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis.from_url(redis_url) as found:
        yield found


@pytest.fixture
async def broker(redis_url: str, clock: Clock) -> AsyncIterator[Broker]:
    found = Broker(redis_url, now_ns=clock)
    yield found
    await found.close()


async def test_idle_worker_is_woken(redis_url: str, broker: Broker) -> None:
    other = Broker(redis_url)
    waiting = asyncio.ensure_future(broker.wait(20))
    await other.enqueue([task("x")])
    assert await asyncio.wait_for(waiting, 10) is False
    assert ids(await broker.dequeue(1)) == ["x"]
    await other.close()


@pytest.mark.parametrize(
    ("lost", "back"),
    [
        ("lease", ["x", "y"]),
        ("pending", ["y"]),
        ("t:x", ["x", "y"]),
        ("t:y", ["y"]),
        ("everything", ["x", "y"]),
        ("active", ["y"]),  # x has its lease: it is put back when that runs out
    ],
)
async def test_restore_repairs_whatever_was_lost(
    lost: str, back: list[str], broker: Broker, client: Any, clock: Clock
) -> None:
    await broker.enqueue([task("x"), task("y")])
    assert ids(await broker.dequeue(1)) == ["x"]
    if lost == "everything":
        await client.flushall()
    else:
        await client.delete("asynq:{default}:" + lost)
    for _ in range(2):
        await broker.restore([task("x"), task("y")])
    assert sorted(ids(await broker.dequeue(9))) == back
    clock.advance(7)
    await broker.recover()
    assert sorted(set(ids(await broker.dequeue(9)))) == ["x", "y"]


@pytest.mark.parametrize("kept_in", ["scheduled", "retry", "archived", "completed"])
async def test_restore_takes_a_task_out_of_every_other_state(kept_in: str, broker: Broker, client: Any) -> None:
    await client.zadd("asynq:{default}:" + kept_in, {"x": 2_000_000_000})
    await client.hset("asynq:{default}:t:x", mapping={"msg": b"old", "state": kept_in})
    assert await broker.restore([task("x")]) == [True]
    assert await client.zcard("asynq:{default}:" + kept_in) == 0
    assert ids(await broker.dequeue(9)) == ["x"]


async def test_states_are_asynqs(broker: Broker, client: Any) -> None:
    """Every key and field as hibiken/asynq leaves them after the same operation."""
    await broker.enqueue([task("x")])
    hash_key = KEYS["default"].task + "x"
    assert await client.smembers("asynq:queues") == {b"critical", b"default"}
    stored = await client.hgetall(hash_key)
    assert (stored[b"state"], stored[b"pending_since"]) == (b"pending", b"1790000000000000000")
    assert decode(stored[b"msg"]) == TaskMessage(
        type="wf:run", payload=b"{}", id="x", queue="default", retry=25, timeout=1800
    )
    taken = await broker.dequeue(1)
    assert sorted(await client.hgetall(hash_key)) == [b"msg", b"state"]
    assert await client.lrange("asynq:{default}:active", 0, -1) == [b"x"]
    assert await client.zscore("asynq:{default}:lease", "x") == 1_790_000_006
    await broker.retry(taken, "e", 10)
    assert await client.hget(hash_key, "state") == b"retry"
    assert await client.zscore("asynq:{default}:retry", "x") == 1_790_000_010
    assert await client.get("asynq:{default}:failed:2026-09-21") == b"1"
    assert await client.get("asynq:{default}:processed") == b"1"
    assert await client.llen("asynq:{default}:active") == 0
    assert await client.expiretime("asynq:{default}:failed:2026-09-21") == 1_790_000_000 + 90 * 24 * 3600


async def test_task_of_a_go_producer_keeps_its_retention_and_gives_its_lock_back(broker: Broker, client: Any) -> None:
    lock = "asynq:{default}:unique:mail:8b9b20a8520689fe197d9495725cd621"
    message = TaskMessage(
        type="mail", id="g", queue="default", retry=3, retention=60, unique_key=lock, headers={"trace": "abc"}
    )
    await client.set(lock, "g", ex=100)
    await client.hset(KEYS["default"].task + "g", mapping={"msg": encode(message), "state": "pending"})
    await client.lpush("asynq:{default}:pending", "g")
    [taken] = await broker.dequeue(1)
    assert taken.message == message
    await broker.done([taken])
    assert await client.exists(lock) == 0
    stored = await client.hgetall(KEYS["default"].task + "g")
    assert stored[b"state"] == b"completed"
    assert decode(stored[b"msg"]) == msgspec.structs.replace(message, completed_at=1_790_000_000)
    assert await client.zscore("asynq:{default}:completed", "g") == 1_790_000_060


async def test_forwarded_task_of_a_group_joins_its_group(broker: Broker, client: Any) -> None:
    await client.zadd("asynq:{default}:scheduled", {"x": 5})
    await client.hset("asynq:{default}:t:x", mapping={"msg": b"m", "state": "scheduled", "group": "mails"})
    assert await broker.forward() == 1
    assert await client.zrange("asynq:{default}:g:mails", 0, -1) == [b"x"]
    assert await client.hget("asynq:{default}:t:x", "state") == b"aggregating"


async def test_id_without_a_task_is_dropped(broker: Broker, client: Any) -> None:
    await client.rpush("asynq:{default}:pending", "ghost")
    await broker.enqueue([task("x")])
    assert ids(await broker.dequeue(5)) == ["x"]
    assert await client.lrange("asynq:{default}:active", 0, -1) == [b"x"]


async def test_archive_keeps_the_newest(broker: Broker, client: Any, clock: Clock) -> None:
    await client.zadd("asynq:{default}:archived", {f"o{n}": 1_789_999_000 + n for n in range(10_000)})
    await client.hset("asynq:{default}:t:o0", "msg", b"m")
    await broker.enqueue([task("x")])
    await broker.archive(await broker.dequeue(1), "not ours")
    assert await client.zcard("asynq:{default}:archived") == 10_000
    assert await client.exists("asynq:{default}:t:o0") == 0
    assert await client.hget("asynq:{default}:t:x", "state") == b"archived"


async def test_dead_redis_is_said() -> None:
    broker = Broker("unix:///nowhere.sock")
    with pytest.raises(Unavailable):
        await broker.enqueue([Task("x", "wf:run", b"", "default")])
    await broker.close()


@pytest.mark.parametrize("url", ["nonsense", "redis+sentinel://h:1", "redis+sentinel://h:x/m", "redis+cluster://:9"])
def test_url_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        open_redis(url)


async def test_sentinel_names_the_master(redis_url: str) -> None:
    """A real Sentinel would need a process more; what it answers is one line, so a server of that line stands in."""
    port, master = free_port(), free_port()
    node = subprocess.Popen(
        [str(valkey_server()), "--port", str(master), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"],
        stdout=subprocess.DEVNULL,
    )
    conf = f"port {port}\nbind 127.0.0.1\nsentinel monitor house 127.0.0.1 {master} 1\n"
    try:
        await answering(master)
        await _with_sentinel(conf, port)
    finally:
        node.terminate()
        node.wait()


async def _with_sentinel(conf: str, port: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sentinel.conf"
        path.write_text(conf)
        watcher = subprocess.Popen([str(valkey_server()), str(path), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            await answering(port)
            broker = Broker(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/house/0")
            assert await broker.enqueue([task("x")]) == [True]
            assert ids(await broker.dequeue(1)) == ["x"]
            await broker.close()
        finally:
            watcher.terminate()
            watcher.wait()


async def test_events_and_notices_are_told_on_a_cluster(cluster_url: str) -> None:
    publisher, follower = Publisher(cluster_url), Follower(cluster_url)
    facts = {"run_id": "run_1", "org_id": "org_a", "workflow_id": "wf_1", "timestamp": 0}
    await publisher.publish([RunEvent(type="run_started", seq=1, **facts)])
    await publisher.tell_live(RunEvent(type="trigger_finalized", seq=0, **facts))
    seen: list[tuple[str, int, int]] = []
    async with asyncio.timeout(10):
        async for found in follower.follow("run_1", 0):
            seen += [(event.type, event.seq, event.sub) for event in found]
            if len(seen) == 2:
                break
    assert seen == [("run_started", 1, 0), ("trigger_finalized", 1, 1)]
    await follower.close()
    await publisher.close()
