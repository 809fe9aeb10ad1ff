"""Slack mentions: one source for each token, which reads the channels that some trigger watches, one call at a time.

A page's mentions and the cursor are admitted in one transaction, before the next call. The cursor moves only when
nothing before it is unread, so a restart or another master reads some messages again, and the receipts (channel and
`ts` are a mention's identity) refuse what was admitted. Calls of all channels share the token's limits: a channel in
the middle of many pages goes behind the others. What Slack refuses stops the channel, or the token, alone.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os._speedups.trigger_index import TriggerIndex
from b3os.actions.upstreams import Upstreams
from b3os.auth.connectors import open_credential
from b3os.detect.keys import KeyKind
from b3os.detect.slack import (
    SLACK_TYPE,
    Bot,
    Mention,
    SlackWatch,
    channel_key,
    mention_result,
    parse_slack_watch,
    ts_text,
)
from b3os.detect.slack_history import Place, from_plain, history_step, replies_step, to_plain
from b3os.errors import BadInput, NotFound
from b3os.run.times import rfc3339
from b3os.settings import Settings
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import Name, TriggerRow
from services.master.admit import Admitter, Event
from services.master.sources.refusals import Limited, PlaceRefused, Refused, Standing, Unreadable
from services.master.sources.slack_channel import Channel
from services.master.sources.slack_web import BASE, HISTORY, REPLIES, SPACING_S, WHO, SlackWeb
from services.master.table import Table

SOURCE = "slack"
#: How often a connector is looked at for another token.
CREDENTIAL_S = 30.0
#: What Slack refused is tried again so often.
REFUSED_S = 20.0
PLACE_REFUSED_S = 60.0
#: With nothing to do, or nothing allowed, we look up so often.
IDLE_S = 0.5
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
#: Slack's clock may be so far behind the one that says when a trigger was published.
CLOCK_MS = 1000
#: Events of one transaction.
BATCH = 1000
#: Slack's words for a thread whose parent was deleted, and for a page that it does not know any more.
GONE = frozenset({"thread_not_found", "message_not_found"})
LOST = frozenset({"invalid_cursor"})

log = logging.getLogger("b3os.master")


class SlackSource:
    """One token and its channels, under the lease `slack:<organization>:<connector>`."""

    def __init__(
        self, org_id: str, watch: SlackWatch, web: SlackWeb, *, admitter: Admitter, pool: Pool, table: Table,
        master_key: str, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.org_id = org_id
        self.name = f"{SOURCE}:{org_id}:{watch.access}"
        self._access = watch
        self._web = web
        self._admitter = admitter
        self._pool = pool
        self._table = table
        self._master_key = master_key
        self._monotonic = monotonic
        self._channels: dict[str, Channel] = {}
        self._standings: dict[str, Standing] = {}
        self._epoch: int | None = None
        self._stored: dict[str, Any] = {}
        self._bot: Bot | None = None
        self._looked_at = float("-inf")
        self._failures = 0

    @property
    def is_wanted(self) -> bool:
        """Whether some trigger watches a channel."""
        return bool(self._channels)

    def add(self, channel: str, slot: int) -> None:
        """Let a trigger watch a channel."""
        self._channels.setdefault(channel, Channel(channel)).slots.add(slot)
        self._standings.setdefault(channel, Standing(self._pool)).forget()

    def remove(self, channel: str, slot: int) -> None:
        """Take a trigger away; a channel that nobody watches is not read any more."""
        found = self._channels[channel]
        found.slots.discard(slot)
        if not found.slots:
            del self._channels[channel], self._standings[channel]

    async def forget(self) -> None:
        """Begin at the stored cursor when the lease is back."""
        self._epoch = None

    def failed(self, error: Exception) -> float:
        """Return how long to wait: a channel's refusal holds nothing else up."""
        is_refusal = isinstance(error, Refused | PlaceRefused)
        metrics.SOURCE_REQUESTS.labels(SOURCE, "refused" if is_refusal else "failed").inc()
        if is_refusal:
            return 0.0 if isinstance(error, PlaceRefused) else REFUSED_S
        self._failures += 1
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how old the oldest channel's news is, and what each channel waits for."""
        now = self._monotonic()
        read = [one for one in self._channels.values() if one.level_at]
        lag = max((now - one.level_at for one in read), default=None)
        detail = {
            one.name: {
                "newest": ts_text(one.place.newest) if one.place else None,
                "threads": len(one.threads),
                "problem": one.problem or None,
            }
            for one in self._channels.values()
        }
        return ("" if lag is None else f"{lag:.0f} s"), {"channels": detail}

    async def poll(self, epoch: int) -> float:
        """Make one call that is due; returns the seconds until the next. Raises StaleEpoch, or why it failed."""
        if epoch != self._epoch:
            await self._begin(epoch)
        try:
            if not await self._sign_in():
                return IDLE_S
            if await self._call(epoch):
                metrics.SOURCE_REQUESTS.labels(SOURCE, "answered").inc()
        except Limited as limited:
            metrics.SOURCE_REQUESTS.labels(SOURCE, "limited").inc()
            return min(limited.wait_s, IDLE_S)
        except Refused as refused:
            self._bot = None
            for name, standing in list(self._standings.items()):
                await standing.is_wrong(self._names(name), refused.message)
            raise
        self._failures = 0
        return self._pause()

    async def _begin(self, epoch: int) -> None:
        self._stored = await read_cursor(self._pool, self.name) or {}
        self._bot, self._looked_at = None, float("-inf")
        for channel in self._channels.values():
            channel.restart(None)
            self._standings[channel.name].forget()
        self._epoch = epoch

    async def _sign_in(self) -> bool:
        """Know the token and whose it is, or say that we may not ask yet. A connector is looked at now and then."""
        if self._bot is not None and self._monotonic() - self._looked_at < CREDENTIAL_S:
            return True
        if self._bot is None and self._web.wait_s(WHO):
            return False
        token = self._access.token or await self._token()
        self._looked_at = self._monotonic()
        if self._bot is None or token != self._web.token:
            self._web.token, self._bot = token, None
            self._bot = await self._web.who()
        return True

    async def _token(self) -> str:
        connector_id = self._access.connector_id
        try:
            found = await open_credential(self._pool, self.org_id, connector_id, self._master_key)
        except NotFound:
            found = {}
        token = found.get("botToken")
        if not isinstance(token, str) or not token:
            raise Refused(f"the connector {connector_id} holds no bot token: choose another, and publish again")
        return token

    async def _call(self, epoch: int) -> bool:
        """Make the call that has waited longest, if one is due and allowed; returns whether it was."""
        now = self._monotonic()
        for channel in self._channels.values():
            if channel.place is None:
                channel.restart(self._place_of(channel))
        waiting = [one for one in self._channels.values() if one.due_at <= now and one.rests_until <= now]
        if waiting and not self._web.wait_s(HISTORY):
            await self._history(min(waiting, key=lambda one: one.due_at), epoch)
            return True
        threaded = [one for one in self._channels.values() if one.threads and one.threads_rest_until <= now]
        if threaded and not self._web.wait_s(REPLIES):
            await self._replies(min(threaded, key=lambda one: one.thread_at), epoch)
            return True
        return False

    def _pause(self) -> float:
        """Return how long nothing is due or allowed."""
        now, waits = self._monotonic(), [IDLE_S]
        for one in self._channels.values():
            waits.append(max(self._web.wait_s(HISTORY), one.due_at - now, one.rests_until - now))
            if one.threads:
                waits.append(max(self._web.wait_s(REPLIES), one.threads_rest_until - now))
        return max(0.0, min(waits))

    def _place_of(self, channel: Channel) -> Place:
        """Return the stored place; a channel without one begins when its oldest trigger did."""
        since = ((self._table.since_ms(list(channel.slots)) or 0) - CLOCK_MS) * 1000
        found = from_plain(self._stored.get(channel.name)) or Place(since, since)
        return Place(max(found.newest, since), max(found.replies, since))

    async def _history(self, channel: Channel, epoch: int) -> None:
        walk = channel.next_walk(self._monotonic())
        assert channel.place is not None, "the poll gave it one"
        assert self._bot is not None, "the poll began with signing in"
        try:
            page = await self._web.history(channel.name, ts_text(walk.oldest), walk.cursor)
            step = history_step(channel.place, walk, page, self._bot)
        except PlaceRefused as refused:
            channel.rests_until = self._monotonic() + PLACE_REFUSED_S
            channel.history_problem = refused.message
            await self._tell(channel)
            raise
        except (Unreadable, BadInput) as error:
            channel.failed(self._monotonic(), is_lost=not isinstance(error, Unreadable) or error.reason in LOST)
            raise
        await self._admit(channel, step.mentions, channel.place_after(step), epoch)
        channel.took_history(step, self._monotonic())
        channel.history_problem = ""
        if step.is_last:
            await self._finish_sweep(channel, epoch)
        await self._tell(channel)

    async def _replies(self, channel: Channel, epoch: int) -> None:
        thread = channel.next_thread()
        assert thread is not None, "the caller looked"
        assert channel.place is not None, "the poll gave it one"
        assert self._bot is not None, "the poll began with signing in"
        channel.thread_at = self._monotonic()
        walk = thread.walk
        try:
            page = await self._web.replies(channel.name, thread.parent, ts_text(walk.oldest), walk.cursor)
            step = replies_step(channel.place, walk, page, self._bot, thread.parent)
        except PlaceRefused as refused:
            channel.threads_rest_until = self._monotonic() + PLACE_REFUSED_S
            channel.threads_problem = f"threads are not read: {refused.message}"
            await self._tell(channel)
            raise
        except (Unreadable, BadInput) as error:
            if isinstance(error, Unreadable) and error.reason in GONE:
                channel.drop_thread(thread)
                await self._finish_sweep(channel, epoch)
                return
            channel.postpone(thread)
            raise
        await self._admit(channel, step.mentions, channel.place, epoch)
        channel.took_thread(thread, step)
        channel.threads_problem = ""
        await self._finish_sweep(channel, epoch)
        await self._tell(channel)

    async def _finish_sweep(self, channel: Channel, epoch: int) -> None:
        """Store that all replies up to a sweep are read, when they are."""
        place = channel.swept()
        if place is not None:
            await self._admit(channel, [], place, epoch)
            channel.took_sweep()
            channel.prune()

    async def _tell(self, channel: Channel) -> None:
        standing = self._standings.get(channel.name)
        if standing is None:
            return  # the last trigger left meanwhile
        if channel.problem:
            await standing.is_wrong(self._names(channel.name), channel.problem)
        else:
            await standing.is_well(self._names(channel.name))

    def _names(self, channel: str) -> list[Name]:
        slots = self._channels[channel].slots if channel in self._channels else ()
        return [name for slot in sorted(slots) if (name := self._table.name_of(slot)) is not None]

    async def _admit(self, channel: Channel, mentions: Sequence[Mention], place: Place, epoch: int) -> None:
        """Admit mentions and store the place, together; nothing is written when there is nothing new."""
        rows = {row.name: row for row in self._listening(channel)} if mentions else {}
        fresh = [
            (mention, rows[name])
            for mention, name in channel.fresh(mentions, rows)
            if mention.at // 1000 >= rows[name].active_since_ms - CLOCK_MS
        ]
        kept = {one.name: to_plain(one.place) for one in self._channels.values() if one.place is not None}
        after = {**kept, channel.name: to_plain(place)}
        if not fresh and after == self._stored:
            return
        now = rfc3339(self._admitter.now_ms())
        events = [_event(row, channel.name, mention, now) for mention, row in fresh]
        while len(events) > BATCH:
            head, events = events[:BATCH], events[BATCH:]
            await self._admitter.admit(head, (self.name, epoch, {**kept}))
        await self._admitter.admit(events, (self.name, epoch, after))
        self._stored, channel.place = after, place
        channel.known |= {(mention.message.ts, row.name) for mention, row in fresh}
        metrics.EVENTS.labels(SOURCE).inc(len({mention.message.ts for mention, _ in fresh}))
        metrics.MATCHES.labels(SOURCE).inc(len(fresh))

    def _listening(self, channel: Channel) -> Iterable[TriggerRow]:
        """Ask the index who watches a channel."""
        key = channel_key(self.org_id, msgspec.structs.replace(self._access, channel=channel.name))
        for _, slot in self._table.index.match_keys(KeyKind.SLACK_CHANNEL, [key]):
            row = self._table.row(slot)
            if row is not None:
                yield row


class Slack:
    """All triggers on Slack mentions, and their sources: one for each token."""

    types = frozenset({SLACK_TYPE})

    def __init__(
        self, settings: Settings, *, upstreams: Upstreams, admitter: Admitter, pool: Pool, table: Table,
        spacing_s: float = SPACING_S, monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._index: TriggerIndex = table.index
        self._watched: dict[int, tuple[SlackSource, str]] = {}
        #: By name, as long as some trigger wants them.
        self._sources: dict[str, SlackSource] = {}
        base, http = upstreams.find("slack", BASE)

        def make(org_id: str, watch: SlackWatch) -> SlackSource:
            web = SlackWeb(http, base, spacing_s=spacing_s, monotonic=monotonic)
            return SlackSource(
                org_id, watch, web, admitter=admitter, pool=pool, table=table, master_key=settings.master_key,
                monotonic=monotonic,
            )  # fmt: skip

        self._make = make

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger; raises BadInput."""
        watch = parse_slack_watch(row.payload)
        self.drop(slot)
        self._index.drop(slot)
        self._index.put_key(slot, KeyKind.SLACK_CHANNEL, channel_key(row.org_id, watch))
        made = self._make(row.org_id, watch)
        source = self._sources.setdefault(made.name, made)
        source.add(watch.channel, slot)
        self._watched[slot] = (source, watch.channel)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        found = self._watched.pop(slot, None)
        if found is not None:
            source, channel = found
            source.remove(channel, slot)

    def wanted(self) -> Collection[SlackSource]:
        """Return the sources with a channel that some trigger watches.

        The others are forgotten here, and not in `drop`: a trigger that is replaced keeps its source.
        """
        self._sources = {name: source for name, source in self._sources.items() if source.is_wanted}
        return list(self._sources.values())


def _event(row: TriggerRow, channel: str, mention: Mention, now: str) -> Event:
    result = mention_result(channel, mention, now)
    return Event(row, f"slack:{channel}:{mention.message.ts}", result, mention.at // 1000)
