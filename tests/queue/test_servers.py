"""Workers as asynqmon sees them: the keys, and protobuf against bytes made by Google's runtime from asynq.proto."""

import asyncio
from typing import Any

import redis.asyncio

from b3os.queue.servers import Register, Server, Working, server_info, worker_info

SERVER = Server(host="box", pid=42, id="5f0a", concurrency=200, started_ns=1_790_000_000_250_000_000)
WORK = Working("run_1", "wf:run", b"{}", "default", 1_790_000_001_000_000_000)
SERVER_INFO = (
    "0a03626f78102a1a043566306120c8012a0c0a08637269746963616c10062a0b0a0764656661756c7410013a06616374697665420b0880f7c4"
    "d5061080e59a774801"
)
WORKER_INFO = (
    "0a03626f78102a1a0435663061220572756e5f312a0677663a72756e32027b7d3a0764656661756c7442060881f7c4d5064a06088985c5d506"
)


def test_bytes_are_asynqs() -> None:
    assert server_info(SERVER, "active", 1).hex() == SERVER_INFO
    assert worker_info(SERVER, WORK).hex() == WORKER_INFO


async def test_a_server_is_listed_while_it_lives(redis_url: str) -> None:
    register = Register(redis_url, SERVER, now_ns=lambda: 1_790_000_000_000_000_000)
    client: Any = redis.asyncio.Redis.from_url(redis_url)
    await register.beat("active", [WORK])
    server, workers = "asynq:servers:{box:42:5f0a}", "asynq:workers:{box:42:5f0a}"
    assert await client.zrange("asynq:servers", 0, -1, withscores=True) == [(server.encode(), 1_790_000_010)]
    assert await client.zrange("asynq:workers", 0, -1) == [workers.encode()]
    assert (await client.get(server)).hex() == SERVER_INFO
    assert {key: value.hex() for key, value in (await client.hgetall(workers)).items()} == {b"run_1": WORKER_INFO}
    assert 0 < await client.ttl(server) <= 10
    await register.beat("stopped", [])
    assert await client.exists(workers) == 0
    await register.leave()
    assert [await client.zcard(key) for key in ("asynq:servers", "asynq:workers")] == [0, 0]
    assert await client.exists(server) == 0
    await register.close()
    await client.aclose()


async def test_cancelling_is_heard(redis_url: str) -> None:
    register = Register(redis_url, SERVER)
    heard = register.cancelled()
    waiting = asyncio.ensure_future(anext(heard))
    client: Any = redis.asyncio.Redis.from_url(redis_url)
    async with asyncio.timeout(10):
        while not await client.publish("asynq:cancel", "run_1"):
            await asyncio.sleep(0.01)
        assert await waiting == "run_1"
    await heard.aclose()
    await register.close()
    await client.aclose()
