"""The price source: ticks of the Stork oracle to events, under the lease `prices`.

Ticks are matched as they come. What they make (events, which triggers fired, the ticks themselves) and the cursor, the
last price of every watched asset, are one transaction: at once when something fired, else every FLUSH_S. One that fails
is tried again before anything else is read, so a crossing is admitted once, in order, through any loss of the database
or of the socket. A master that dies forgets at most the ticks of FLUSH_S that fired nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import msgspec

from b3os import metrics
from b3os.abi.signature import parse_address
from b3os.chain.signatures import Signers
from b3os.detect.price_matcher import PriceMatch, PriceMatcher, PriceTick
from b3os.detect.prices import PRICE_TYPE, PriceWatch, parse_price_watch, price_number, price_text
from b3os.errors import BadInput
from b3os.net.websocket import Disconnected, Options, WebSocket
from b3os.run.times import rfc3339
from b3os.settings import Settings
from b3os.store import prices as store
from b3os.store.leases import read_cursor
from b3os.store.pool import Connection, Pool
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter, Event
from services.master.sources import stork
from services.master.table import Table

SOURCE = "prices"
WAIT_S = 0.25
FLUSH_S = 0.25
#: The service cuts a client that sends more than five messages a second.
SEND_S = 0.5
RETRY_S = 0.5
#: Waits after failed connections; ten attempts a second are allowed.
BACKOFF_S = (0.25, 1.0, 2.0, 5.0, 10.0, 30.0)
#: The oracle sends every 500 ms: a connection without a believed price for so long is given up.
STALE_S = 10.0
#: A crossing that began at a price so much older than the trigger is not the trigger's.
GAP_NS = 10 * 10**9
NS = 10**6

#: A tick, and what the oracle said of it.
Quote = tuple[PriceTick, dict[str, Any]]

log = logging.getLogger("b3os.master")


class _Pending(msgspec.Struct):
    """What has been matched and is not stored yet."""

    events: list[Event] = []
    ticks: list[PriceTick] = []
    marks: dict[store.TriggerKey, str | None] = {}


class Prices:
    """All price triggers, and their one source."""

    name = SOURCE
    types = frozenset({PRICE_TYPE})

    def __init__(
        self,
        settings: Settings,
        *,
        admitter: Admitter,
        pool: Pool,
        table: Table,
        monotonic: Callable[[], float] = time.monotonic,
        stale_s: float = STALE_S,
    ) -> None:
        self._admitter = admitter
        self._pool = pool
        self._table = table
        self._monotonic = monotonic
        self._stale_s = stale_s
        self._has_key = bool(settings.stork_key)
        self._signers = Signers(_accounts(settings.stork_signers or stork.PUBLIC_SIGNERS))
        self._socket = WebSocket(settings.stork_url, _options(settings), self._opened)
        self._matcher: PriceMatcher[TriggerRow] = PriceMatcher(table.row)
        self._epoch: int | None = None
        self._last: dict[str, PriceTick] = {}
        #: Marks of triggers that this master has not heard of yet.
        self._marks: dict[store.TriggerKey, str] = {}
        self._pending = _Pending()
        #: The last transaction failed.
        self._is_behind = False
        self._subscribed: set[str] = set()
        self._refused: set[tuple[str, str]] = set()
        self._heard_at = self._sent_at = self._stored_at = monotonic()

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger; raises BadInput."""
        if not self._has_key and not len(self._matcher):
            log.warning("price triggers wait: set B3OS_STORK_KEY")
        self._matcher.put(slot, row.payload)
        if self._marks and self._marks.pop(_key(row), None) == _mark(row, parse_price_watch(row.payload)):
            self._matcher.latch(slot)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        self._matcher.drop(slot)

    def wanted(self) -> Collection["Prices"]:
        """Return the source itself, if some trigger listens and the oracle's key is known."""
        return (self,) if len(self._matcher) and self._has_key else ()

    async def forget(self) -> None:
        """Close the connection; what is stored is read again with the next lease."""
        self._epoch = None
        await self._socket.close()

    async def settle(self, epoch: int) -> None:
        """Store the ticks of the last moment."""
        if epoch == self._epoch:
            await self._store(epoch)

    def failed(self, error: Exception) -> float:
        """Return how long to wait: as the connection says, or a moment for the database."""
        return self._socket.retry_s if isinstance(error, Disconnected) else RETRY_S

    async def poll(self, epoch: int) -> float:
        """Take the ticks of the next moment; raises StaleEpoch, Disconnected, or what the database raises."""
        if epoch != self._epoch:
            await self._begin(epoch)
        if self._is_behind:
            await self._store(epoch)
        messages = await self._socket.receive(WAIT_S)
        self._subscribe()
        self._take(await self._read(messages))
        now = self._monotonic()
        if self._pending.events or self._pending.marks or (self._pending.ticks and now - self._stored_at >= FLUSH_S):
            await self._store(epoch)
        if self._subscribed and now - self._heard_at > self._stale_s:
            self._socket.drop(f"no price for {self._stale_s:g} s")
        return 0.0

    async def _begin(self, epoch: int) -> None:
        """Take up what the last owner stored: prices, and which triggers had fired."""
        position = await read_cursor(self._pool, SOURCE) or {}
        stored = await store.read_latches(self._pool)
        self._pending, self._is_behind = _Pending(), False
        self._last = {asset: PriceTick(asset, int(p), at) for asset, (p, at) in position.get("prices", {}).items()}
        latched = {key: slot for key, mark in stored.items() if (slot := self._slot_with(key, mark)) is not None}
        self._marks = {key: mark for key, mark in stored.items() if key not in latched}
        self._matcher.restore({asset: tick.price for asset, tick in self._last.items()}, latched.values())
        self._epoch = epoch

    def _slot_with(self, key: store.TriggerKey, mark: str) -> int | None:
        """Return the slot of a trigger that is still what a mark belongs to."""
        slot = self._table.slot_of(key)
        if slot is None or slot not in self._matcher:
            return None
        row = self._table.row(slot)
        return slot if row is not None and _mark(row, parse_price_watch(row.payload)) == mark else None

    def _opened(self, socket: WebSocket) -> None:
        """Subscribe a new connection to everything that is watched."""
        self._subscribed = set(self._matcher.assets())
        self._heard_at = self._sent_at = self._monotonic()
        self._refused.clear()
        for message in stork.subscription("subscribe", self._subscribed):
            socket.send(message)
        log.info("price feed open", extra={"place": socket.place, "assets": len(self._subscribed)})

    def _subscribe(self) -> None:
        """Follow the index: subscribe to what is watched now, leave what is no more."""
        if self._monotonic() - self._sent_at < SEND_S:
            return
        wanted = set(self._matcher.assets())
        if wanted == self._subscribed:
            return
        self._sent_at = self._monotonic()
        for kind, assets in (("subscribe", wanted - self._subscribed), ("unsubscribe", self._subscribed - wanted)):
            for message in stork.subscription(kind, assets):
                self._socket.send(message)
        self._subscribed = wanted

    async def _read(self, messages: list[bytes]) -> list[Quote]:
        """Return the believed ticks of watched assets, each newer than the one before it."""
        found: list[Quote] = []
        for message in messages:
            try:
                frame = stork.read_frame(message)
                quotes = stork.quotes_of(frame) if frame.type == "oracle_prices" else {}
            except stork.RefusedPrice as refused:
                self._note("", refused.reason)
                continue
            if frame.error:
                log.warning("price feed complains", extra={"error": frame.error[:200]})
            for asset, raw in quotes.items():
                if asset in self._subscribed:
                    found += self._believed(asset, raw)
                    await asyncio.sleep(0)  # a signature takes most of a millisecond: let the tick of the master in
        return found

    def _believed(self, asset: str, raw: msgspec.Raw) -> list[Quote]:
        try:
            tick, plain = stork.read_quote(asset, raw, self._signers, self._admitter.now_ms() * NS)
        except stork.RefusedPrice as refused:
            self._note(asset, refused.reason)
            return []
        self._heard_at = self._monotonic()
        before = self._last.get(asset)
        if before is not None:
            if tick.at_ns <= before.at_ns:
                return []  # a new connection begins with what we may have had already
            tick = msgspec.structs.replace(tick, before_ns=before.at_ns)
        self._last[asset] = tick
        return [(tick, plain)]

    def _note(self, asset: str, reason: str) -> None:
        metrics.PRICES_REFUSED.labels(reason).inc()
        if (asset, reason) not in self._refused:
            self._refused.add((asset, reason))
            log.warning("price refused", extra={"asset": asset, "reason": reason})

    def _take(self, ticks: list[Quote]) -> None:
        """Match ticks, and keep what follows from them until it is stored."""
        if not ticks:
            return
        metrics.EVENTS.labels(SOURCE).inc(len(ticks))
        matches, rearmed = self._matcher.match([tick for tick, _ in ticks])
        plain = {(tick.asset, tick.at_ns): said for tick, said in ticks}
        self._pending.ticks += [tick for tick, _ in ticks]
        for row in rearmed:
            self._pending.marks[_key(row)] = None
        for match in matches:
            if self._matcher.is_latched(match.slot):
                self._pending.marks[_key(match.row)] = _mark(match.row, match.watch)
            if _is_its_own(match):
                self._pending.events.append(self._event(match, plain[match.tick.asset, match.tick.at_ns]))

    def _event(self, match: PriceMatch[TriggerRow], said: dict[str, Any]) -> Event:
        tick = match.tick
        result: dict[str, Any] = {
            "asset": tick.asset,
            "price": price_number(tick.price),
            "timestamp": rfc3339(tick.at_ns // NS),
            "rawResponse": said,
            "triggeredAt": rfc3339(self._admitter.now_ms()),
        }
        return Event(match.row, f"price:{tick.asset}:{tick.at_ns}", result, tick.at_ns // NS)

    async def _store(self, epoch: int) -> None:
        """Admit, remember and move the cursor in one transaction; what fails stays pending."""
        pending = self._pending
        watched = self._matcher.previous()
        self._last = {asset: tick for asset, tick in self._last.items() if asset in watched}
        position = {"prices": {asset: (str(tick.price), tick.at_ns) for asset, tick in self._last.items()}}
        ticks = [(tick.asset, tick.at_ns // 1000, price_text(tick.price)) for tick in pending.ticks]

        async def also(db: Connection) -> None:
            await store.write_latches(db, pending.marks)
            await store.add_ticks(db, ticks)

        self._is_behind = True
        await self._admitter.admit(pending.events, (SOURCE, epoch, position), also=also)
        metrics.MATCHES.labels(SOURCE).inc(len(pending.events))
        self._pending, self._is_behind = _Pending(), False
        self._stored_at = self._monotonic()


def _key(row: TriggerRow) -> store.TriggerKey:
    return (row.org_id, row.workflow_id, row.node_id)


def _mark(row: TriggerRow, watch: PriceWatch) -> str:
    """What a latch belongs to: published anew, or with another threshold, a trigger has not fired yet."""
    return f"{row.active_since_ms} {' '.join(map(str, watch.threshold))}"


def _is_its_own(match: PriceMatch[TriggerRow]) -> bool:
    """Whether a match came about after its trigger: not a crossing that began long before, in a gap of the feed."""
    if not match.watch.is_crossing:
        return True
    return match.row.active_since_ms * NS <= match.tick.before_ns + GAP_NS


def _accounts(text: str) -> list[bytes]:
    return [parse_address(part.strip(), "B3OS_STORK_SIGNERS") for part in text.split(",") if part.strip()]


def _options(settings: Settings) -> Options:
    """The address is the operator's own, never a tenant's: it may be private."""
    parts = urlsplit(settings.stork_url)
    if parts.scheme not in ("ws", "wss"):
        raise BadInput("B3OS_STORK_URL begins with ws:// or wss://. See docs/settings.md.", code=400001)
    named = f",{parts.hostname}:{parts.port}" if parts.port else ""
    return Options(
        backoff=lambda failures: BACKOFF_S[min(max(failures, 1), len(BACKOFF_S)) - 1],
        headers={"Authorization": f"Basic {settings.stork_key}"},
        allow=f"0.0.0.0/0,::/0{named}",
        has_deflate=True,
    )
