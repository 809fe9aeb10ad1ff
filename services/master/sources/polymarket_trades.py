"""Trades of Polymarket to events: of the markets, or by the users, that some trigger watches. One lease for each kind.

The Data API is what is believed: it lists what was settled on the chain, in one form, whenever it is asked. The sockets
tell that something was traded, and then it is read at once; without them it is found a little later. So a lost
connection, a message that comes twice, late or never, and another master change when a run starts, never whether.
Matches and the cursor, up to when each market or user is read, are admitted in one transaction.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from b3os import metrics
from b3os.detect.keys import KeyKind
from b3os.detect.polymarket import MARKET_TRADE, USER_BET, TradeWatch, polymarket_key
from b3os.detect.polymarket_answers import TRADED, channel_events, trader_in
from b3os.detect.polymarket_place import Limits, Step, further_up, step
from b3os.detect.polymarket_trades import Trade, is_wanted, numbered, trade_result
from b3os.errors import B3osError, BadInput
from b3os.run.times import rfc3339
from b3os.store import triggers
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import Name, TriggerRow
from services.master.admit import Admitter, Event
from services.master.sources.polymarket_api import SOURCE, UNKNOWN_S, PolymarketApi, TooDeep
from services.master.sources.polymarket_feed import Channel, Feed
from services.master.sources.polymarket_watched import TRADES, Batch, Track, Watched
from services.master.sources.refusals import REASON, Limited, PlaceRefused, Refused, Standing, Unreadable
from services.master.table import Table

WAIT_S = 0.25
#: A busy order book sends hundreds of messages a second: they are taken together.
BREATH_S = 0.02
AGAIN_S = 2.0
#: A place that only knows a later time is stored so often.
REMEMBER_S = 60.0
#: What the database refuses is tried again after this.
RETRY_S = 0.5
#: Events of one transaction.
BATCH = 1000
#: Markets of one call.
MARKETS = 20

#: Market or user, transaction, and seconds of 1970.
Hint: TypeAlias = tuple[str, str, int]
Found: TypeAlias = tuple[str, Trade]

log = logging.getLogger("b3os.master")


class Reads(msgspec.Struct, frozen=True):
    """What a source reads, and how it is asked for. `size` is how many of them one call may name."""

    name: str
    type: str
    kind: KeyKind
    field: str
    size: int
    is_taker_only: bool


#: Each fill of a market once, on the side of who took the offer; of a user also what others took of his offers.
OF_MARKETS = Reads("trades", MARKET_TRADE, KeyKind.POLYMARKET_MARKET, "market", MARKETS, is_taker_only=True)
OF_USERS = Reads("bets", USER_BET, KeyKind.POLYMARKET_USER, "user", 1, is_taker_only=False)


class TradeSource:
    """All triggers on trades of one kind, under the lease `polymarket:trades` or `polymarket:bets`."""

    def __init__(
        self, reads: Reads, feed: Channel | Feed, api: PolymarketApi, *, admitter: Admitter, pool: Pool, table: Table,
        monotonic: Callable[[], float] = time.monotonic, limits: Limits = TRADES, wait_s: float = WAIT_S,
    ) -> None:  # fmt: skip
        self.name = f"{SOURCE}:{reads.name}"
        self._reads = reads
        self._feed = feed
        self._api = api
        self._admitter = admitter
        self._pool = pool
        self._table = table
        self._monotonic = monotonic
        self._limits = limits
        self._wait_s = wait_s
        self._watched = Watched(reads.size, limits)
        self._standings: dict[str, Standing] = {}
        self._epoch: int | None = None
        self._stored: dict[str, int] = {}
        self._stored_names: dict[str, str] = {}
        self._stored_at = float("-inf")
        #: The latest trade that was seen at all, in seconds of 1970.
        self._top = 0
        self._gaps = 0
        #: Triggers may have been told that Polymarket is closed to us, by this master or the one before.
        self._is_shut = True

    @property
    def is_wanted(self) -> bool:
        """Whether some trigger watches something."""
        return bool(self._watched.watches)

    def put(self, slot: int, watch: TradeWatch) -> None:
        """Add or replace a trigger; where it names the same as before, name and place are kept."""
        before = self._watched.watches.get(slot)
        if before is not None and before.ref != watch.ref:
            self.drop(slot)
            self._table.index.drop(slot)
        key = self._watched.add(slot, watch)
        self._standings.setdefault(watch.ref, Standing(self._pool)).forget()
        if key is not None:
            self._listen(slot, key)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        watch = self._watched.watches.get(slot)
        self._watched.remove(slot)
        if watch is not None and not self._watched.slots_of(watch.ref):
            del self._standings[watch.ref]

    async def forget(self) -> None:
        """Close the connections; begin at the stored cursor when the lease is back."""
        self._epoch = None
        await self._feed.close()

    def failed(self, error: Exception) -> float:
        """Return how long to wait: the service's failures hold only their own calls up."""
        return 0.0 if isinstance(error, B3osError) else RETRY_S

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how old the oldest news is, and how much is watched: to everybody, so no names."""
        now, tracks = self._monotonic(), self._watched.tracks.values()
        read = [one.read_at for one in tracks if one.read_at > float("-inf")]
        feed = self._feed.report() if isinstance(self._feed, Channel) else {"problem": self._feed.problem or None}
        detail = {
            "watched": len(tracks),
            "unknown": self._watched.unresolved,
            "awaited": sum(len(one.awaited) for one in tracks),
            "gaps": self._gaps,
            "socket": feed,
        }
        return (f"{now - min(read):.0f} s" if read else ""), detail

    async def poll(self, epoch: int) -> float:
        """Hear the sockets, and make the calls that are due; raises StaleEpoch, or why it failed."""
        if epoch != self._epoch:
            await self._begin(epoch)
        told = await self._feed.read(self._pause())
        for key, tx, at_s in self._heard(told):
            if (track := self._watched.tracks.get(key)) is not None:
                track.hint(tx, min(at_s or self._now_s(), self._now_s()), self._monotonic())
        if isinstance(self._feed, Channel):
            self._feed.follow({token for one in self._watched.tracks.values() for token in one.tokens})
        try:
            if not self._api.gamma.wait_s:
                await self._look_up()
            if not self._api.data.wait_s:
                await self._read(epoch)
        except Limited:
            return 0.0
        except Refused as refused:
            for ref, standing in list(self._standings.items()):
                await standing.is_wrong(self._names(ref), refused.message)
            self._is_shut = True
            raise
        loss = self._feed.take_loss()
        if loss is not None:
            raise loss
        return BREATH_S if told else 0.0

    async def _begin(self, epoch: int) -> None:
        found = await read_cursor(self._pool, self.name) or {}
        self._stored, self._stored_names = dict(found.get("read", {})), dict(found.get("names", {}))
        self._stored_at, self._is_shut = self._monotonic(), True
        for slot in self._watched.restart(self._stored_names):
            self._listen(slot, self._watched.names[self._watched.watches[slot].ref])
        for standing in self._standings.values():
            standing.forget()
        self._epoch = epoch

    def _pause(self) -> float:
        """Return how long nothing is due or allowed."""
        now = self._monotonic()
        page = max(self._watched.due_at() - now, self._api.data.wait_s)
        name = max(self._watched.unknown_at - now, self._api.gamma.wait_s)
        return max(0.001, min(self._wait_s, page, name))

    def _listen(self, slot: int, key: str) -> None:
        self._table.index.drop(slot)
        self._table.index.put_key(slot, self._reads.kind, polymarket_key(self._reads.type, key))

    def _heard(self, messages: Iterable[bytes]) -> Iterable[Hint]:
        for message in messages:
            try:
                if self._reads is OF_MARKETS:
                    yield from ((market, tx, at_s) for _, market, tx, at_s in channel_events(message, TRADED))
                elif (bet := trader_in(message)) is not None:
                    yield bet
            except BadInput:
                metrics.POLYMARKET_REFUSED.labels("message").inc()

    async def _look_up(self) -> None:
        """Find out what one name stands for, and tell its triggers when it stands for nothing."""
        now = self._monotonic()
        ref = self._watched.unknown(now)
        if ref is None:
            return
        self._watched.put_off(ref, now + AGAIN_S)
        known = self._watched.names.get(ref, ref)
        try:
            if self._reads is OF_MARKETS:
                market = await self._api.market(known)
                key, tokens = market.condition, market.tokens
            else:
                key, tokens = (known if known != ref else await self._api.wallet(ref)), ()
        except PlaceRefused as refused:
            self._watched.put_off(ref, self._monotonic() + UNKNOWN_S)
            if standing := self._standings.get(ref):
                await standing.is_wrong(self._names(ref), refused.message)
            return
        self._resolve(ref, key, tokens)
        if standing := self._standings.get(ref):
            await standing.is_well(self._names(ref))

    def _resolve(self, ref: str, key: str, tokens: tuple[str, ...]) -> None:
        """Let the triggers of a name listen, also to what was read by another name before this one was known."""
        track = self._watched.tracks.get(key)
        heard = set(track.slots) if track is not None else set()
        slots = self._watched.resolve(ref, key, tokens)
        for slot in slots:
            self._listen(slot, key)
        since_ms = self._table.since_ms(list(slots - heard))
        place = self._place_of(key) if slots else None
        if since_ms is not None and place is not None and since_ms // 1000 < place:
            self._watched.reach_back(key, since_ms // 1000)

    async def _read(self, epoch: int) -> None:
        """Read one page of what has waited longest, and admit what it brought."""
        now = self._monotonic()
        batch = self._watched.next(now, self._top, self._newest_of)
        if batch is None:
            return
        keys, walk = [one.key for one in batch.tracks], batch.walk
        try:
            rows = await self._api.trades(self._reads.field, keys, walk, is_taker_only=self._reads.is_taker_only)
        except Unreadable:
            self._watched.put_back(batch, self._monotonic() + AGAIN_S)
            raise
        except TooDeep:
            await self._take(batch, [], further_up(walk, self._limits), epoch)
            return
        if self._is_shut:
            well = [name for ref in self._watched.names for name in self._names(ref)]
            await triggers.cure(self._pool, well, REASON)
            self._is_shut = False
        for _ in range(rows.count(None)):
            metrics.POLYMARKET_REFUSED.labels("trade").inc()
        found = step(walk, [None if row is None else row.at_s for row in rows], self._limits)
        await self._take(batch, [row for number in found.taken if (row := rows[number]) is not None], found, epoch)

    async def _take(self, batch: Batch, trades: list[Trade], found: Step, epoch: int) -> None:
        """Admit what a page brought, and go on: with the next page, or with what comes next."""
        is_parted = found.is_cut and len(batch.tracks) > 1
        seen, now = batch.seen | {trade.tx for trade in trades}, self._monotonic()
        top = min(max(found.walk.top, batch.top), self._now_s())  # nobody's clock takes us past our own
        places = {one.key: one.place_after(top, seen, now) for one in batch.tracks}
        trades.sort(key=lambda one: one.at_s)
        await self._admit(numbered(trades), places if found.is_last and not is_parted else {}, epoch)
        self._top, batch.seen = max(self._top, min(found.walk.top, self._now_s())), seen
        if is_parted:
            self._watched.parted(batch, now)
            return
        if not found.is_last:
            self._watched.goes_on(batch, found.walk, now)
            return
        if found.is_cut:
            self._gaps += 1
            metrics.POLYMARKET_REFUSED.labels("gap").inc()
            log.warning("trades older than the Data API shows were not read", extra={"source": self.name})
        self._watched.ended(batch, places, now)

    def _now_s(self) -> int:
        return self._admitter.now_ms() // 1000

    def _newest_of(self, track: Track) -> int:
        """Return up to when a track is read: as stored, or since its oldest trigger began to listen."""
        since_s = (self._table.since_ms(list(track.slots)) or 0) // 1000
        return track.newest if track.newest is not None else max(self._stored.get(track.key, 0), since_s)

    def _names(self, ref: str) -> list[Name]:
        slots = sorted(self._watched.slots_of(ref))
        return [name for slot in slots if (name := self._table.name_of(slot)) is not None]

    async def _admit(self, found: Sequence[Found], moved: dict[str, int], epoch: int) -> None:
        """Admit what triggers want of these trades and store the places, together."""
        matches = self._matches(found)
        events = [event for event, _, _ in matches]
        kept = {key: at for key in self._watched.tracks if (at := self._place_of(key)) is not None}
        after = {**kept, **{key: at for key, at in moved.items() if key in self._watched.tracks}}
        is_old = self._monotonic() - self._stored_at >= REMEMBER_S
        if not events and self._watched.names == self._stored_names and not (is_old and after != self._stored):
            return
        while len(events) > BATCH:
            head, events = events[:BATCH], events[BATCH:]
            await self._admitter.admit(head, (self.name, epoch, self._position(kept)))
        await self._admitter.admit(events, (self.name, epoch, self._position(after)))
        self._stored, self._stored_names, self._stored_at = after, dict(self._watched.names), self._monotonic()
        for event, identity, trade in matches:
            if (track := self._watched.tracks.get(self._key_of(trade))) is not None:
                track.known[identity, event.row.name] = trade.at_s
        metrics.EVENTS.labels(SOURCE).inc(len({identity for _, identity, _ in matches}))
        metrics.MATCHES.labels(SOURCE).inc(len(matches))

    def _place_of(self, key: str) -> int | None:
        newest = self._watched.tracks[key].newest
        return self._stored.get(key) if newest is None else newest

    def _position(self, places: dict[str, int]) -> dict[str, Any]:
        return {"read": places, "names": self._watched.names}

    def _matches(self, found: Sequence[Found]) -> list[tuple[Event, str, Trade]]:
        """Return the events that these trades make, asking the index who watches their markets, or users."""
        keys = sorted({self._key_of(trade) for _, trade in found})
        packed = [polymarket_key(self._reads.type, key) for key in keys]
        rows: dict[str, list[tuple[TriggerRow, TradeWatch]]] = {}
        for number, slot in self._table.index.match_keys(self._reads.kind, packed):
            row, watch = self._table.row(slot), self._watched.watches.get(slot)
            if row is not None and watch is not None:
                rows.setdefault(keys[number], []).append((row, watch))
        now = rfc3339(self._admitter.now_ms())
        made = []
        for identity, trade in found:
            key = self._key_of(trade)
            track = self._watched.tracks.get(key)
            for row, watch in rows.get(key, ()):
                is_known = track is not None and (identity, row.name) in track.known
                if not is_known and (trade.at_s + 1) * 1000 > row.active_since_ms and is_wanted(watch, trade):
                    result = trade_result(watch.type, trade, now)
                    made.append((Event(row, f"{SOURCE}:{identity}", result, trade.at_s * 1000), identity, trade))
        return made

    def _key_of(self, trade: Trade) -> str:
        return trade.market if self._reads is OF_MARKETS else trade.user
