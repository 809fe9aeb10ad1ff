"""From streams to readers: one task reads the streams of all runs followed by this process."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from redis.exceptions import RedisError

from b3os.errors import TooMany
from b3os.redis_client import open_redis
from b3os.stream.events import RunEvent
from b3os.stream.publish import stream_key

#: A reader this far behind is cut: it comes back with Last-Event-ID.
QUEUE_LIMIT = 2000
BLOCK_MS = 200
RETRY_S = 0.2


def waiting(queue: "asyncio.Queue[RunEvent | None]") -> list[RunEvent | None]:
    """Take all that is in a queue now."""
    return [queue.get_nowait() for _ in range(queue.qsize())]


class _Reader:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[RunEvent | None] = asyncio.Queue(QUEUE_LIMIT)


class Follower:
    """Fans the streams out; `follow` may be called for a run that does not exist yet."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = open_redis(redis_url)
        self._readers: dict[str, set[_Reader]] = {}
        self._last: dict[str, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, run_id: str, after_seq: int = 0) -> AsyncGenerator[list[RunEvent], None]:
        """Yield a run's events after `after_seq`, in order, each once, those that are there together.

        Raises TooMany for a reader that lags.
        """
        reader = _Reader()
        key = stream_key(run_id)
        self._readers.setdefault(key, set()).add(reader)
        # The stream is read again from the oldest reader's place; `seen` keeps each event single.
        seen = (after_seq, 0)
        self._last[key] = min(self._last.get(key, seen), seen)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._read())
        try:
            while True:
                found = []
                for event in [await reader.queue.get(), *waiting(reader.queue)]:
                    if event is None:
                        raise TooMany("the stream ran ahead of this reader: reconnect with Last-Event-ID")
                    if (event.seq, event.sub) > seen:
                        seen = (event.seq, event.sub)
                        found.append(event)
                if found:
                    yield found
        finally:
            self._forget(key, reader)

    async def close(self) -> None:
        """Stop reading and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    def _forget(self, key: str, reader: _Reader) -> None:
        self._readers[key].discard(reader)
        if not self._readers[key]:
            del self._readers[key]
            self._last.pop(key, None)

    async def _read(self) -> None:
        while self._readers:
            wanted = {key: f"{seq}-{sub}" for key, (seq, sub) in self._last.items()}
            try:
                answer = await self._redis.xread(wanted, count=1000, block=BLOCK_MS)
            except RedisError:
                await asyncio.sleep(RETRY_S)
                continue
            for raw_key, entries in answer or ():
                self._deliver(raw_key.decode(), entries)

    def _deliver(self, key: str, entries: list[Any]) -> None:
        for raw_id, fields in entries:
            event = msgspec.msgpack.decode(fields[b"e"], type=RunEvent)
            if key in self._last:
                seq, _, sub = raw_id.partition(b"-")
                self._last[key] = max(self._last[key], (int(seq), int(sub)))
            for reader in self._readers.get(key, ()):
                if reader.queue.full():
                    with contextlib.suppress(asyncio.QueueEmpty):
                        reader.queue.get_nowait()
                    reader.queue.put_nowait(None)
                else:
                    reader.queue.put_nowait(event)
