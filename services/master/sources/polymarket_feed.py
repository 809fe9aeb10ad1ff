"""The WebSockets of Polymarket: connections that come back, pinged with texts, watched for silence and for deafness.

What they tell is only a reason to read the Data API or Gamma, so a source goes on without them: a lost connection is
noted, and opened again in its own time. One that says nothing at all, and one that answers pings but tells nothing, are
both given up for a new one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from b3os.errors import BadInput
from b3os.net.websocket import Disconnected, Options, WebSocket

BACKOFF_S = (0.25, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Pings are texts: every 10 s at the market channel, every 5 s at the live feed.
CHANNEL_BEAT, LIVE_BEAT = ("PING", 10.0), ("ping", 5.0)
#: Whoever answers no ping for so long is gone.
SILENT_S = 25.0
#: The live feed has many trades a minute, a market channel may be quiet, and markets are made in batches.
LIVE_STALE_S, CHANNEL_STALE_S, NEWS_STALE_S = 60.0, 180.0, 1800.0
#: Assets of one connection.
ASSETS = 500


class Feed:
    """One connection. `hello` makes what it says when it is opened."""

    def __init__(
        self, url: str, setting: str, *, beat: tuple[str, float], stale_s: float, hello: Callable[[], list[bytes]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._hello = hello
        self._stale_s = stale_s
        self._monotonic = monotonic
        self._socket = WebSocket(url, _options(url, setting, beat), self._opened)
        self._retry_at = self._heard_at = self._told_at = float("-inf")
        self._loss: Disconnected | None = None
        #: Why there is no connection.
        self.problem = "not open yet"

    def send(self, message: bytes) -> None:
        """Send a message, if there is a connection."""
        self._socket.send(message)

    async def read(self, wait_s: float) -> list[bytes]:
        """Return what was told, at the latest after a while; nothing while there is no connection."""
        if self._monotonic() < self._retry_at:
            await asyncio.sleep(wait_s)
            return []
        try:
            messages = await self._socket.receive(wait_s)
        except Disconnected as lost:
            self._loss, self.problem = lost, lost.message
            self._retry_at = self._monotonic() + self._socket.retry_s
            return []
        told = [one for one in messages if one.strip().lower() not in (b"pong", b"")]
        self._watch(is_alive=bool(messages), is_telling=bool(told))
        return told

    def take_loss(self) -> Disconnected | None:
        """Return a loss that nobody has been told of."""
        loss, self._loss = self._loss, None
        return loss

    async def close(self) -> None:
        """Close the connection."""
        self.problem = "not open yet"
        await self._socket.close()

    def _opened(self, socket: WebSocket) -> None:
        self._heard_at = self._told_at = self._monotonic()
        self.problem = ""
        for message in self._hello():
            socket.send(message)

    def _watch(self, *, is_alive: bool, is_telling: bool) -> None:
        now = self._monotonic()
        self._heard_at = now if is_alive else self._heard_at
        self._told_at = now if is_telling else self._told_at
        if now - self._heard_at > SILENT_S:
            self._socket.drop(f"no answer to a ping for {SILENT_S:g} s")
        elif now - self._told_at > self._stale_s:
            self._socket.drop(f"no news for {self._stale_s:g} s")


class Channel:
    """The market channel for any number of assets, ASSETS on each connection.

    `has_news`: it also tells of markets that are made and settled, whatever assets it is for.
    """

    def __init__(
        self, url: str, monotonic: Callable[[], float] = time.monotonic, *, has_news: bool = False
    ) -> None:  # fmt: skip
        self._url = f"{url.rstrip('/')}/ws/market"
        self._monotonic = monotonic
        self._has_news = has_news
        self._feeds: list[tuple[Feed, set[str]]] = []
        self._left: list[Feed] = []
        self._make(set())  # a wrong address stops the start, not the first trigger

    def follow(self, wanted: set[str]) -> None:
        """Subscribe to what is wanted now, leave what is no more."""
        had = {asset for _, assets in self._feeds for asset in assets}
        if had == wanted:
            return
        for feed, assets in self._feeds:
            _tell(feed, "unsubscribe", assets - wanted)
            assets &= wanted
        fresh = sorted(wanted - had)
        for feed, assets in self._feeds:
            taken, fresh = fresh[: ASSETS - len(assets)], fresh[max(0, ASSETS - len(assets)) :]
            _tell(feed, "subscribe", taken)
            assets.update(taken)
        for start in range(0, len(fresh), ASSETS):
            assets = set(fresh[start : start + ASSETS])
            self._feeds.append((self._make(assets), assets))
        self._left += [feed for feed, assets in self._feeds if not assets]
        self._feeds = [(feed, assets) for feed, assets in self._feeds if assets]

    async def read(self, wait_s: float) -> list[bytes]:
        """Return what all connections told."""
        while self._left:
            await self._left.pop().close()
        if not self._feeds:
            await asyncio.sleep(wait_s)
            return []
        told = await asyncio.gather(*(feed.read(wait_s) for feed, _ in self._feeds))
        return [message for messages in told for message in messages]

    def take_loss(self) -> Disconnected | None:
        """Return a loss that nobody has been told of."""
        return next((loss for feed, _ in self._feeds if (loss := feed.take_loss()) is not None), None)

    async def close(self) -> None:
        """Close all connections."""
        for feed in [*self._left, *(feed for feed, _ in self._feeds)]:
            await feed.close()
        self._feeds, self._left = [], []

    def report(self) -> dict[str, Any]:
        """Say what is subscribed to, and why a connection is missing."""
        problems = [feed.problem for feed, _ in self._feeds if feed.problem]
        return {"assets": sum(len(assets) for _, assets in self._feeds), "problem": problems[0] if problems else None}

    def _make(self, assets: set[str]) -> Feed:
        def hello() -> list[bytes]:
            about = {"type": "market", "assets_ids": sorted(assets), "initial_dump": False}
            return [msgspec.json.encode({**about, "custom_feature_enabled": True} if self._has_news else about)]

        return Feed(
            self._url, "B3OS_POLYMARKET_CHANNEL_URL", beat=CHANNEL_BEAT, hello=hello, monotonic=self._monotonic,
            stale_s=NEWS_STALE_S if self._has_news else CHANNEL_STALE_S,
        )  # fmt: skip


def live_feed(url: str, monotonic: Callable[[], float] = time.monotonic) -> Feed:
    """Make the connection that tells of every trade with its wallet."""
    wanted = {"action": "subscribe", "subscriptions": [{"topic": "activity", "type": "trades"}]}
    return Feed(
        url, "B3OS_POLYMARKET_LIVE_URL", beat=LIVE_BEAT, stale_s=LIVE_STALE_S,
        hello=lambda: [msgspec.json.encode(wanted)], monotonic=monotonic,
    )  # fmt: skip


def _tell(feed: Feed, operation: str, assets: Iterable[str]) -> None:
    if names := sorted(assets):
        feed.send(msgspec.json.encode({"operation": operation, "assets_ids": names}))


def _options(url: str, setting: str, beat: tuple[str, float]) -> Options:
    """The address is the operator's own, never a tenant's: it may be private."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss"):
        raise BadInput(f"{setting} begins with ws:// or wss://. See docs/settings.md.", code=400001)
    named = f",{parts.hostname}:{parts.port}" if parts.port else ""
    return Options(
        backoff=lambda failures: BACKOFF_S[min(max(failures, 1), len(BACKOFF_S)) - 1],
        allow=f"0.0.0.0/0,::/0{named}",
        beat=beat[0],
        beat_s=beat[1],
    )
