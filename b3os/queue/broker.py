"""The queue: Asynq's keys and states, our scripts, whole batches a call.

Taking is not polling: an idle worker blocks on the lanes' wake lists. A wake-up that is lost costs one wait, since the
queue is looked at again after each.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from b3os.errors import Unavailable
from b3os.queue.codec import TaskMessage, decode, encode
from b3os.queue.keys import LANES, QUEUES, prefix, wake

#: A taken task that is neither done nor renewed for this long goes back.
LEASE_S = 6
MAX_RETRY = 25
TIMEOUT_S = 1800
COUNTER_KEPT_S = 90 * 24 * 3600
RECOVER_LIMIT = 500


class Task(msgspec.Struct, frozen=True):
    """An item on the queue; the id makes enqueueing idempotent while the task is there."""

    id: str
    type: str
    payload: bytes
    lane: str


@cache
def _script(name: str) -> str:
    return (Path(__file__).parent / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


class Broker:
    """One connection pool to the ops Redis; raises Unavailable when it cannot be reached."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = redis.asyncio.Redis.from_url(redis_url, decode_responses=False)
        self._scripts = {
            name: self._redis.register_script(_script(name)) for name in ("enqueue", "dequeue", "done", "recover")
        }
        self._known = False

    async def enqueue(self, tasks: Sequence[Task]) -> list[bool]:
        """Put tasks into their lanes; False where the id is there already."""
        put: dict[str, bool] = {}
        await self._announce()
        for lane in LANES:
            own = [task for task in tasks if task.lane == lane]
            if not own:
                continue
            args: list[Any] = [time.time_ns()]
            for task in own:
                args += [task.id, encode(_message(task))]
            answer = await self._run("enqueue", [prefix(lane), wake(lane)], args)
            put.update((task.id, bool(made)) for task, made in zip(own, answer, strict=True))
        return [put.get(task.id, False) for task in tasks]

    async def dequeue(self, limit: int, wait_s: float) -> list[Task]:
        """Take up to `limit` tasks, critical before default; waits up to `wait_s` when there is none."""
        taken = await self._take(limit)
        if taken or wait_s <= 0:
            return taken
        try:
            await self._redis.blpop([wake(lane) for lane in LANES], timeout=wait_s)
        except RedisError as error:
            raise Unavailable(f"the ops Redis cannot be reached: {error}") from error
        return await self._take(limit)

    async def done(self, tasks: Sequence[Task]) -> None:
        """Remove finished tasks."""
        now = time.time()
        day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        for lane in LANES:
            ids = [task.id for task in tasks if task.lane == lane]
            if ids:
                await self._run("done", [prefix(lane)], [day, int(now) + COUNTER_KEPT_S, *ids])

    async def recover(self) -> int:
        """Put back tasks of workers that died between taking and finishing; returns how many."""
        now = int(time.time())
        return sum([int(await self._run("recover", [prefix(x), wake(x)], [now, RECOVER_LIMIT])) for x in LANES])

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _take(self, limit: int) -> list[Task]:
        taken: list[Task] = []
        expiry = int(time.time()) + LEASE_S
        for lane in LANES:
            if len(taken) < limit:
                for data in await self._run("dequeue", [prefix(lane)], [limit - len(taken), expiry]):
                    message = decode(data)
                    taken.append(Task(message.id, message.type, message.payload, lane))
        return taken

    async def _announce(self) -> None:
        if not self._known:
            try:
                await self._redis.sadd(QUEUES, *LANES)
            except RedisError as error:
                raise Unavailable(f"the ops Redis cannot be reached: {error}") from error
            self._known = True

    async def _run(self, name: str, keys: list[str], args: list[Any]) -> Any:
        try:
            return await self._scripts[name](keys=keys, args=args)
        except RedisError as error:
            raise Unavailable(f"the ops Redis cannot be reached: {error}") from error


def _message(task: Task) -> TaskMessage:
    return TaskMessage(
        type=task.type, payload=task.payload, id=task.id, queue=task.lane, retry=MAX_RETRY, timeout=TIMEOUT_S
    )
