"""New and closed markets of Polymarket to events, under the lease `polymarket:markets`.

Gamma is what is believed. Its lists are read from the newest down to where they were read before; a socket tells of
markets that are made and settled, which are looked up at once, and again until Gamma has them. A market is new once and
closed once: its condition id makes the event single, whichever way it was found. Gamma lists open and closed markets
apart, so new markets are in two lists: some are closed before anybody has read of them.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from b3os import metrics
from b3os.detect.keys import KeyKind
from b3os.detect.polymarket import ANY, MARKET_CLOSE, NEW_MARKET, MarketWatch, polymarket_key
from b3os.detect.polymarket_answers import CREATED, RESOLVED, channel_events
from b3os.detect.polymarket_markets import Market, is_wanted, keys_of, market_result
from b3os.detect.polymarket_place import further_up, step
from b3os.errors import B3osError, BadInput
from b3os.run.times import rfc3339
from b3os.store import triggers
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import Name, TriggerRow
from services.master.admit import Admitter, Event
from services.master.sources.polymarket_api import SOURCE, UNKNOWN_S, PolymarketApi, TooDeep
from services.master.sources.polymarket_feed import Channel
from services.master.sources.polymarket_listing import LISTED, LISTS, RECHECK_S, Listing
from services.master.sources.refusals import REASON, Limited, PlaceRefused, Refused, Unreadable
from services.master.table import Table

WAIT_S = 0.25
#: How often the market is changed whose channel tells of all markets: it may be closed.
ANCHOR_S, RETRY_ANCHOR_S = 1800.0, 60.0
#: Markets of one look.
ASKED = 20
#: How far their clock may be behind the one that says when a trigger was published.
CLOCK_MS = 1000
#: A place that only knows a later time is stored so often.
REMEMBER_S = 60.0
RETRY_S = 0.5
BATCH = 1000
#: In which list a market is that a socket told of.
TOLD = {CREATED: "new", RESOLVED: "closed"}

log = logging.getLogger("b3os.master")


class MarketSource:
    """All triggers on new and closed markets."""

    name = f"{SOURCE}:markets"

    def __init__(
        self, feed: Channel, api: PolymarketApi, *, admitter: Admitter, pool: Pool, table: Table,
        monotonic: Callable[[], float] = time.monotonic, wait_s: float = WAIT_S,
    ) -> None:  # fmt: skip
        self._feed = feed
        self._api = api
        self._admitter = admitter
        self._pool = pool
        self._table = table
        self._monotonic = monotonic
        self._wait_s = wait_s
        self._watches: dict[str, dict[int, MarketWatch]] = {NEW_MARKET: {}, MARKET_CLOSE: {}}
        self._listings = {name: Listing(name, self._watches[kind]) for name, (kind, _, _) in LISTS.items()}
        self._epoch: int | None = None
        self._stored: dict[str, int] = {}
        self._stored_at = float("-inf")
        self._gaps = 0
        self._is_shut = True
        #: Tokens of one open market, since a channel is for some asset, and when they were looked up.
        self._anchor: set[str] = set()
        self._anchored_at = float("-inf")
        #: Names of markets that are to be looked up, and when.
        self._unknown: dict[str, float] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether some trigger watches a list."""
        return bool(self._watched())

    def put(self, slot: int, watch: MarketWatch) -> None:
        """Add or replace a trigger."""
        self._watches[watch.type][slot] = watch
        if watch.ref:
            self._unknown[watch.ref] = float("-inf")
        self._table.index.drop(slot)
        self._table.index.put_key(slot, KeyKind.POLYMARKET_MARKET, polymarket_key(watch.type, watch.ref or ANY))

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        for watches in self._watches.values():
            watches.pop(slot, None)

    async def forget(self) -> None:
        """Close the connection; begin at the stored cursor when the lease is back."""
        self._epoch = None
        await self._feed.close()

    def failed(self, error: Exception) -> float:
        """Return how long to wait: the service's failures hold only their own calls up."""
        return 0.0 if isinstance(error, B3osError) else RETRY_S

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how old the oldest news is."""
        read = [one.read_at for one in self._watched() if one.read_at > float("-inf")]
        detail = {
            "awaited": sum(len(one.awaited) for one in self._watched()),
            "gaps": self._gaps,
            "socket": self._feed.report(),
        }
        return (f"{self._monotonic() - min(read):.0f} s" if read else ""), detail

    async def poll(self, epoch: int) -> float:
        """Hear the socket, and make a call that is due; raises StaleEpoch, or why it failed."""
        if epoch != self._epoch:
            await self._begin(epoch)
        for name, condition in self._heard(await self._feed.read(self._pause())):
            self._listings[name].hint(condition, self._admitter.now_ms(), self._monotonic())
        self._feed.follow(self._anchor)
        try:
            if not self._api.gamma.wait_s:
                await self._call(epoch)
        except Limited:
            return 0.0
        except Refused as refused:
            self._is_shut = True
            wrong = [(name, REASON, refused.message) for name in self._names()]
            await triggers.save_problems(self._pool, wrong, [], is_complete=False)
            raise
        loss = self._feed.take_loss()
        if loss is not None:
            raise loss
        return 0.0

    async def _begin(self, epoch: int) -> None:
        found = await read_cursor(self._pool, self.name) or {}
        self._stored, self._stored_at, self._is_shut = dict(found.get("read", {})), self._monotonic(), True
        for listing in self._listings.values():
            listing.restart()
        named = {watch.ref for watches in self._watches.values() for watch in watches.values()} - {""}
        self._unknown = dict.fromkeys(named, float("-inf"))
        self._epoch = epoch

    def _watched(self) -> list[Listing]:
        return [one for one in self._listings.values() if one.watches]

    def _names(self, ref: str = "") -> list[Name]:
        """Return the triggers of a name, or all."""
        return [name for slot in self._slots(ref) if (name := self._table.name_of(slot)) is not None]

    def _slots(self, ref: str = "") -> list[int]:
        every = [one for watches in self._watches.values() for one in watches.items()]
        return [slot for slot, watch in every if not ref or watch.ref == ref]

    def _pause(self) -> float:
        """Return how long nothing is due or allowed."""
        waits = [self._anchored_at + ANCHOR_S, *self._unknown.values(), *(one.due_at for one in self._watched())]
        waits += [one.ask_at for one in self._watched()]
        due_s = min(waits, default=float("inf")) - self._monotonic()
        return max(0.001, min(self._wait_s, max(due_s, self._api.gamma.wait_s)))

    @staticmethod
    def _heard(messages: Iterable[bytes]) -> Iterable[tuple[str, str]]:
        for message in messages:
            try:
                yield from ((TOLD[said], condition) for said, condition, _, _ in channel_events(message, *TOLD))
            except BadInput:
                metrics.POLYMARKET_REFUSED.labels("message").inc()

    async def _call(self, epoch: int) -> None:
        """Look for markets that a socket told of, or read a page: what has waited longest, whichever of them fails."""
        now = self._monotonic()
        if now - self._anchored_at > ANCHOR_S:
            self._anchored_at = now + RETRY_ANCHOR_S - ANCHOR_S
            found = await self._markets([*self._listings["new"].fields, ("limit", "1")])
            self._anchor = {token for one in found if one is not None for token in one.tokens}
            if self._anchor:
                self._anchored_at = now
            return
        due = [(one.ask_at, self._ask, one) for one in self._watched() if one.ask_at <= now]
        due += [(one.due_at, self._page, one) for one in self._watched() if one.due_at <= now]
        if due:
            _, call, listing = min(due, key=lambda one: one[0])
            await call(listing, epoch)
            return
        unknown = [ref for ref, at in self._unknown.items() if at <= now]
        if unknown:
            await self._look_up(min(unknown, key=lambda ref: self._unknown[ref]))

    async def _look_up(self, ref: str) -> None:
        """Find out whether there is such a market, and tell its triggers when there is none."""
        if not self._slots(ref):  # they are gone
            del self._unknown[ref]
            return
        self._unknown[ref] = self._monotonic() + UNKNOWN_S
        try:
            await self._api.market(ref)
        except PlaceRefused as refused:
            wrong = [(name, REASON, refused.message) for name in self._names(ref)]
            await triggers.save_problems(self._pool, wrong, [], is_complete=False)
            return
        await triggers.cure(self._pool, self._names(ref), REASON)
        self._unknown.pop(ref, None)

    async def _ask(self, listing: Listing, epoch: int) -> None:
        listing.asked_at = self._monotonic()
        conditions = list(listing.awaited)[:ASKED]
        fields = [("condition_ids", one) for one in conditions]
        try:
            found = await self._markets([*fields, ("closed", listing.closed), ("limit", str(ASKED))])
        except Unreadable:
            listing.looked_for(conditions)
            raise
        known = {one.condition: one for one in found if one is not None and one.is_news(listing.kind)}
        listed = [known[one] for one in conditions if one in known]
        times = {one: listing.awaited[one][0] for one in conditions}
        await self._admit(listing, [(one, max(times[one.condition], one.at_ms(listing.kind))) for one in listed], epoch)
        listing.looked_for(conditions, known)

    async def _page(self, listing: Listing, epoch: int) -> None:
        now = self._monotonic()
        walk = listing.next_walk(self._newest_of(listing), now)
        rows: list[Market | None] = []
        try:
            rows = await self._markets([*listing.fields, ("limit", str(walk.limit))], walk.offset)
            found = step(walk, [(row.at_ms(listing.kind) or None) if row else None for row in rows], LISTED)
        except Unreadable:
            listing.due_at = self._monotonic() + RECHECK_S
            raise
        except TooDeep:
            found = further_up(walk, LISTED)
        taken = [row for number in found.taken if (row := rows[number]) is not None and row.is_news(listing.kind)]
        newest = max(min(found.walk.top, self._admitter.now_ms()), listing.newest or 0)
        moved = {listing.name: newest} if found.is_last else {}
        await self._admit(listing, [(row, row.at_ms(listing.kind)) for row in reversed(taken)], epoch, moved)
        if not found.is_last:
            listing.walk, listing.due_at = found.walk, now
            return
        if found.is_cut:
            self._gaps += 1
            metrics.POLYMARKET_REFUSED.labels("gap").inc()
            log.warning("markets further down than Gamma shows were not read", extra={"list": listing.name})
        listing.ended(newest, self._monotonic())

    async def _markets(self, fields: Sequence[tuple[str, str]], offset: int = 0) -> list[Market | None]:
        rows = await self._api.markets(fields, offset)
        if self._is_shut:
            await triggers.cure(self._pool, self._names(), REASON)
            self._is_shut = False
        for _ in range(rows.count(None)):
            metrics.POLYMARKET_REFUSED.labels("market").inc()
        return rows

    def _newest_of(self, listing: Listing) -> int:
        """Return up to when a list is read: as stored, or since its oldest trigger began to listen."""
        since = self._table.since_ms(list(listing.watches)) or 0
        return listing.newest if listing.newest is not None else max(self._stored.get(listing.name, 0), since)

    async def _admit(
        self, listing: Listing, found: Sequence[tuple[Market, int]], epoch: int, moved: dict[str, int] | None = None
    ) -> None:  # fmt: skip
        """Admit what triggers want of these markets and store the place, together."""
        matches = [match for market, at in found for match in self._matches(listing, market, at)]
        kept = {one.name: self._newest_of(one) for one in self._watched()}
        after = {**kept, **(moved or {})}
        is_old = self._monotonic() - self._stored_at >= REMEMBER_S
        if not matches and not (is_old and after != self._stored):
            return
        events = [event for event, _ in matches]
        while len(events) > BATCH:
            head, events = events[:BATCH], events[BATCH:]
            await self._admitter.admit(head, (self.name, epoch, {"read": kept}))
        await self._admitter.admit(events, (self.name, epoch, {"read": after}))
        self._stored, self._stored_at = after, self._monotonic()
        listing.known |= {(condition, event.row.name): event.time_ms for event, condition in matches}
        metrics.EVENTS.labels(SOURCE).inc(len({condition for _, condition in matches}))
        metrics.MATCHES.labels(SOURCE).inc(len(matches))

    def _matches(self, listing: Listing, market: Market, at_ms: int) -> list[tuple[Event, str]]:
        """Return the events that a market makes: the index knows who watches it, or any."""
        found: dict[int, TriggerRow] = {}
        for _, slot in self._table.index.match_keys(KeyKind.POLYMARKET_MARKET, keys_of(listing.kind, market)):
            if (row := self._table.row(slot)) is not None and slot in listing.watches:
                found[slot] = row
        made = []
        for slot, row in found.items():
            is_new = (market.condition, row.name) not in listing.known and at_ms >= row.active_since_ms - CLOCK_MS
            if is_new and is_wanted(listing.watches[slot], market):
                result = market_result(listing.kind, market, rfc3339(self._admitter.now_ms()))
                event = Event(row, f"{listing.kind}:{market.condition}", result, at_ms)
                made.append((event, market.condition))
        return made
