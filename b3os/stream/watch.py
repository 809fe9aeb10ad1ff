"""From an organization's channel to those who watch it: one subscription for all readers of this process.

A channel keeps nothing: who comes late, or lags, reads the list of runs. Whoever needs every event follows the run.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from redis.exceptions import RedisError

from b3os.errors import TooMany
from b3os.redis_client import open_redis
from b3os.stream.events import RunEvent
from b3os.stream.follow import waiting
from b3os.stream.publish import channel_of

log = logging.getLogger("b3os.stream")

#: A reader this far behind is cut: it comes back and reads the list.
QUEUE_LIMIT = 2000
RETRY_S = 0.5
#: How long a subscription is listened to before a change of the wanted channels is looked for.
LISTEN_S = 0.2

_decode = msgspec.msgpack.Decoder(list[RunEvent]).decode
Reader = asyncio.Queue[RunEvent | None]


class Watcher:
    """Fans the events of organizations out to their readers."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Any = open_redis(redis_url)
        self._readers: dict[str, set[Reader]] = {}
        self._listening: asyncio.Task[None] | None = None
        #: Set once the channels of all readers are subscribed to.
        self._ready = asyncio.Event()

    async def watch(self, org_id: str) -> AsyncGenerator[list[RunEvent], None]:
        """Yield what an organization's runs tell from now on, in the lists that come; TooMany for a reader that lags.

        The first `anext` is under way once the channel is subscribed to: see `ready`.
        """
        reader: Reader = asyncio.Queue(QUEUE_LIMIT)
        self._readers.setdefault(org_id, set()).add(reader)
        self._ready.clear()
        if self._listening is None or self._listening.done():
            self._listening = asyncio.ensure_future(self._listen())
        try:
            while True:
                found = []
                for event in [await reader.get(), *waiting(reader)]:
                    if event is None:
                        raise TooMany("the events ran ahead of this reader: reconnect, and read the list of runs")
                    found.append(event)
                yield found
        finally:
            self._readers[org_id].discard(reader)
            if not self._readers[org_id]:
                del self._readers[org_id]

    async def ready(self) -> None:
        """Return once everything that is wanted is subscribed to."""
        await self._ready.wait()

    async def close(self) -> None:
        """Stop listening and close the connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._redis.aclose()

    async def _listen(self) -> None:
        while self._readers:
            channels = self._redis.pubsub()
            try:
                await self._serve(channels)
            except (RedisError, OSError) as error:
                log.warning("channels are not heard", extra={"error": str(error)})
                self._cut()
                await asyncio.sleep(RETRY_S)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await channels.aclose()

    async def _serve(self, channels: Any) -> None:
        asked: set[str] = set()
        heard: set[str] = set()
        while self._readers:
            wanted = {channel_of(org_id) for org_id in self._readers}
            if wanted - asked:
                await channels.subscribe(*(wanted - asked))
            if asked - wanted:
                await channels.unsubscribe(*(asked - wanted))
            asked, heard = wanted, heard & wanted
            message = await channels.get_message(timeout=LISTEN_S)
            if message is not None and message["type"] == "subscribe":
                heard.add(message["channel"].decode())
            elif message is not None and message["type"] == "message":
                self._deliver(message["data"])
            if heard >= {channel_of(org_id) for org_id in self._readers}:
                self._ready.set()

    def _deliver(self, data: bytes) -> None:
        for event in _decode(data):
            for reader in self._readers.get(event.org_id, ()):
                if reader.full():
                    end(reader)
                else:
                    reader.put_nowait(event)

    def _cut(self) -> None:
        """Tell every reader that something may be missing."""
        self._ready.clear()
        for readers in self._readers.values():
            for reader in readers:
                end(reader)


def end(reader: Reader) -> None:
    """Let a reader come back: it has missed something."""
    if reader.full():
        reader.get_nowait()
    reader.put_nowait(None)
