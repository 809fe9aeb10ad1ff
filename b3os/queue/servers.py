"""Who works on the queue, as asynqmon and the asynq command see it: ServerInfo, WorkerInfo, and cancelling a task.

Source: hibiken/asynq v0.26, internal/proto/asynq.proto and internal/rdb. What is written lives 10 s and is renewed
every 5 s.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError

from b3os.queue.calls import Call
from b3os.queue.codec import bytes_field, int_field, timestamp
from b3os.queue.keys import CANCEL, SERVERS, WORKERS, server_keys
from b3os.queue.lanes import WEIGHTS
from b3os.queue.lua import ask, run_all, unavailable
from b3os.queue.task import TIMEOUT_S
from b3os.redis_client import open_redis
from b3os.redis_link import open_link

TTL_S = 10
BEAT_S = 5.0
#: How long one look at the cancel channel waits.
LISTEN_S = 30.0


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process; status is `active`, `stopped` or `closed`."""

    host: str
    pid: int
    id: str
    concurrency: int
    started_ns: int


class Working(msgspec.Struct, frozen=True):
    """One task in hand."""

    task_id: str
    type: str
    payload: bytes
    lane: str
    started_ns: int


def server_info(server: Server, status: str, active: int, weights: Mapping[str, int] = WEIGHTS) -> bytes:
    """Return a ServerInfo."""
    queues = b"".join(
        bytes_field(5, bytes_field(1, lane.encode()) + int_field(2, weight)) for lane, weight in weights.items()
    )
    return (
        bytes_field(1, server.host.encode())
        + int_field(2, server.pid)
        + bytes_field(3, server.id.encode())
        + int_field(4, server.concurrency)
        + queues
        + bytes_field(7, status.encode())
        + bytes_field(8, timestamp(server.started_ns))
        + int_field(9, active)
    )


def worker_info(server: Server, work: Working) -> bytes:
    """Return a WorkerInfo; the deadline is the one of the task's message."""
    return (
        bytes_field(1, server.host.encode())
        + int_field(2, server.pid)
        + bytes_field(3, server.id.encode())
        + bytes_field(4, work.task_id.encode())
        + bytes_field(5, work.type.encode())
        + bytes_field(6, work.payload)
        + bytes_field(7, work.lane.encode())
        + bytes_field(8, timestamp(work.started_ns))
        + bytes_field(9, timestamp(work.started_ns + TIMEOUT_S * 1_000_000_000))
    )


class Register:
    """Keeps one server's entry alive, and hears which tasks are to be cancelled."""

    def __init__(self, redis_url: str, server: Server, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._link = open_link(redis_url)
        self._listening = open_redis(redis_url)
        self._server = server
        self._now_ns = now_ns
        self._keys = server_keys(server.host, server.pid, server.id)

    async def beat(self, status: str, working: Sequence[Working]) -> None:
        """Write the entry anew."""
        expiry_s = self._now_ns() // 1_000_000_000 + TTL_S
        args: list[Any] = [TTL_S, server_info(self._server, status, len(working))]
        for work in working:
            args += [work.task_id, worker_info(self._server, work)]
        await ask(self._link, [("ZADD", SERVERS, expiry_s, self._keys[0]), ("ZADD", WORKERS, expiry_s, self._keys[1])])
        await run_all(self._link, [Call("register", self._keys, args)])

    async def leave(self) -> None:
        """Take the entry away."""
        server, workers = self._keys
        await ask(self._link, [("ZREM", SERVERS, server), ("ZREM", WORKERS, workers), ("DEL", server, workers)])

    async def cancelled(self) -> AsyncGenerator[str, None]:
        """Yield the ids of tasks that somebody cancels; raises Unavailable when the connection is lost."""
        channel = self._listening.pubsub()
        try:
            await channel.subscribe(CANCEL)
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=LISTEN_S)
                if message is not None:
                    yield message["data"].decode("utf-8", "replace")
        except (RedisError, OSError) as error:
            raise unavailable(error) from error
        finally:
            await channel.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()
        await self._listening.aclose()
