"""A hint that a chain has a new block: eth_subscribe newHeads over a WebSocket, where the chain's settings name one.

It says when to look, never what is there: polling is the truth, and goes on as if there were no socket. So one that is
dead costs nothing, one that lies costs looks, at most four in the time of a block, and one on another chain the same.
Addresses may hold keys: log lines name the host only.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from b3os.chain.chains import Chain, egress_of
from b3os.errors import B3osError
from b3os.net.websocket import Options, WebSocket

log = logging.getLogger("b3os.master")

SUBSCRIBE = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 60.0)
#: A node that knows no subscriptions is asked again after this.
REFUSED_S = 3600.0
#: A socket that has been silent for so long, and for so many blocks, is given up.
SILENT_S, SILENT_BLOCKS = 60.0, 20
#: A header is 2 kB.
MAX_BYTES = 256 * 1024
#: The block is announced before every replica has it: how soon it is looked for, again and again.
EAGER_S = (0.05, 0.1, 0.2, 0.4)


class _Head(msgspec.Struct):
    number: str


class _Params(msgspec.Struct):
    result: _Head


class _Message(msgspec.Struct):
    params: _Params | None = None
    error: Any = None


class Heads:
    """Hears of the new blocks of one chain, over one of its addresses after the other."""

    def __init__(self, chain: Chain, now: Callable[[], float] = time.monotonic) -> None:
        self._chain = chain
        self._now = now
        self._news = asyncio.Event()
        #: The highest block that this connection has announced, and how often it was looked for since.
        self._announced = -1
        self._looks = 0
        #: Whether the node has said something on this connection.
        self.is_open = False

    async def rest(self, pause_s: float, head: int) -> None:
        """Wait until the next poll is due, or a block above `head` is announced, or was and is looked for again."""
        least_s = min(pause_s, self._chain.block_time_ms / 4000)
        if self._announced > head and self._looks < len(EAGER_S):
            self._looks += 1
            await asyncio.sleep(min(pause_s, max(least_s, EAGER_S[self._looks - 1])))
            return
        self._news.clear()
        began = self._now()
        try:
            async with asyncio.timeout(pause_s):
                await self._news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, least_s - (self._now() - began)))

    async def listen(self) -> None:
        """Keep a subscription until cancelled; returns at once where the chain has no address for one."""
        urls, failures = self._chain.ws_urls, 0
        rests = dict.fromkeys(urls, self._now())  # until when each is left alone
        while urls:
            left = [url for url in urls if rests[url] <= self._now()]
            if not left:
                await asyncio.sleep(min(rests.values()) - self._now())
                continue
            url, before = left[failures % len(left)], self._announced
            why, pause_s = "", BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            socket = WebSocket(url, _options(self._chain), lambda opened: opened.send(SUBSCRIBE))
            try:
                why = await self._hear(socket)
                if why:
                    rests[url] = self._now() + REFUSED_S
            except (B3osError, OSError) as error:
                why = type(error).__name__
            finally:
                failures = 0 if self._announced > before else failures + 1
                self.is_open, self._announced = False, -1
                await socket.close()
            host = urlsplit(url).hostname
            log.info("no word of new blocks", extra={"chain": self._chain.id, "upstream": host, "error": why})
            await asyncio.sleep(pause_s)

    async def _hear(self, socket: WebSocket) -> str:
        """Take what the node says until it is silent; returns why it refuses, if it does. Raises Disconnected."""
        silent_s = max(SILENT_S, SILENT_BLOCKS * self._chain.block_time_ms / 1000)
        while messages := await socket.receive(silent_s):
            for message in messages:
                try:
                    said = msgspec.json.decode(message, type=_Message)
                    number = int(said.params.result.number, 16) if said.params is not None else -1
                except (msgspec.DecodeError, ValueError, RecursionError):
                    continue  # of something else
                if said.error is not None:
                    return str(said.error)[:200]
                self.is_open = True
                if number > self._announced:
                    self._announced, self._looks = number, 0
                    self._news.set()
        return ""


def _options(chain: Chain) -> Options:
    return Options(backoff=lambda _failures: 0.0, allow=egress_of([chain]), max_bytes=MAX_BYTES)
