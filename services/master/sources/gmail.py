"""Mail of Gmail: one source for each connected mailbox, read by its history, under `gmail:<organization>:<connector>`.

One poll reads one page: of the history, of a list when the history is too old or there is none yet, or of what a search
finds among new messages. Its mail is admitted before the next page; the history id moves with the last one. So a
restart or another master reads some pages again, and the receipts (a message's id is its identity) refuse what was
admitted. A mailbox that refuses, or has too many calls, waits alone.
"""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from b3os import metrics
from b3os.actions.upstreams import Upstreams
from b3os.auth.connectors import open_credential
from b3os.detect.gmail import (
    GMAIL_TYPES,
    GmailWatch,
    Mail,
    mail_result,
    mailbox_key,
    parse_gmail_watch,
)
from b3os.detect.gmail_place import (
    BATCH,
    OLDER_MS,
    Place,
    Recent,
    from_plain,
    is_news,
    list_text,
    moved,
    noted,
    of_account,
    resync_since_ms,
    search_text,
    settled,
    without,
)
from b3os.detect.keys import KeyKind
from b3os.errors import NotFound
from b3os.run.times import rfc3339
from b3os.settings import Settings
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import Name, TriggerRow
from services.master.admit import Admitter, Event
from services.master.sources import pipedream
from services.master.sources.gmail_api import NO_PAGE, Expired, Mailbox
from services.master.sources.refusals import Limited, Refused, Standing, Unreadable
from services.master.table import Table

SOURCE = "gmail"
POLL_S = 10.0
CREDENTIAL_S = 30.0
REFUSED_S = 30.0
IDLE_S = 0.5
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Google's clock may be so far behind the one that says when a trigger was published.
CLOCK_MS = 1000
#: So often, with BACKOFF_S between, a message is asked for that the service does not give while the mailbox answers.
TRIES = 6

T = TypeVar("T")

#: A trigger and what it listens to.
Watching = tuple[TriggerRow, GmailWatch]
#: A message, and its whole as Gmail gave it.
Whole = tuple[Mail, dict[str, Any]]
#: A message for a trigger.
Wanted = tuple[str, TriggerRow, GmailWatch]

log = logging.getLogger("b3os.master")


class _Walk(msgspec.Struct):
    """The pages under way: of the history, or of a list since a time, which ends at a history id of before it."""

    began_ms: int
    page: str = ""
    since_ms: int | None = None
    ends_at: str = ""


class GmailSource:
    """One mailbox."""

    def __init__(
        self, org_id: str, connector_id: str, mailbox: Mailbox, *, admitter: Admitter, pool: Pool, table: Table,
        master_key: str, monotonic: Callable[[], float],
    ) -> None:  # fmt: skip
        self.org_id = org_id
        self.name = f"{SOURCE}:{org_id}:{connector_id}"
        self.slots: set[int] = set()
        self._connector_id = connector_id
        self._mailbox = mailbox
        self._admitter = admitter
        self._pool = pool
        self._table = table
        self._master_key = master_key
        self._monotonic = monotonic
        self._standing = Standing(pool)
        self._epoch: int | None = None
        self._place = self._stored = Place()
        self._walk: _Walk | None = None
        self._fetched: dict[str, Whole | None] = {}
        self._mails: dict[str, Mail | None] = {}
        #: How often a message was not given, since one was.
        self._tries = Counter[str]()
        #: What was admitted, by message and trigger, as long as it can come again.
        self._known: set[tuple[str, Name]] = set()
        self._looked_at = self._rests_until = float("-inf")
        self._failures = 0
        self._level_ms = 0

    def add(self, slot: int) -> None:
        """Let a trigger watch the mailbox."""
        self.slots.add(slot)
        self._standing.forget()

    async def forget(self) -> None:
        """Begin at the stored cursor when the lease is back."""
        self._epoch = None

    def failed(self, error: Exception) -> float:
        """Return how long to wait."""
        is_refusal = isinstance(error, Refused)
        metrics.SOURCE_REQUESTS.labels(SOURCE, "refused" if is_refusal else "failed").inc()
        if is_refusal:
            return REFUSED_S
        self._failures += 1
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how long ago the mailbox was read whole."""
        lag = f"{(self._admitter.now_ms() - self._level_ms) / 1000:.0f} s" if self._level_ms else ""
        place, is_listing = self._place, self._walk is not None and self._walk.since_ms is not None
        detail = {"historyId": place.history, "recent": len(place.recent), "isListing": is_listing}
        return lag, {**detail, "leftOut": place.left_out}

    async def poll(self, epoch: int) -> float:
        """Read one page; returns the seconds until the next. Raises StaleEpoch, or why it failed."""
        if epoch != self._epoch:
            await self._begin(epoch)
        if self._monotonic() < self._rests_until or self._mailbox.wait_s():
            return IDLE_S  # a limit of the project is every mailbox's: none of them sleeps in a call until it is over
        try:
            await self._sign_in()
            is_level = await self._page(epoch)
        except Limited as limited:
            metrics.SOURCE_REQUESTS.labels(SOURCE, "limited").inc()
            self._rests_until = self._monotonic() + limited.wait_s
            return min(limited.wait_s, IDLE_S)
        except Unreadable as error:
            if error.reason == NO_PAGE:
                self._walk = None
            raise
        except Refused as refused:
            self._looked_at = float("-inf")
            await self._standing.is_wrong(self._names(), refused.message)
            raise
        metrics.SOURCE_REQUESTS.labels(SOURCE, "answered").inc()
        await self._standing.is_well(self._names())
        self._failures = 0
        return POLL_S if is_level else 0.0

    async def _begin(self, epoch: int) -> None:
        self._place = self._stored = from_plain(await read_cursor(self._pool, self.name))
        self._walk, self._fetched, self._mails, self._known = None, {}, {}, set()
        self._tries.clear()
        self._looked_at = self._rests_until = float("-inf")
        self._standing.forget()
        self._epoch = epoch

    async def _sign_in(self) -> None:
        """Know the account; the connector is looked at again from time to time."""
        if self._monotonic() - self._looked_at < CREDENTIAL_S:
            return
        try:
            found = await open_credential(self._pool, self.org_id, self._connector_id, self._master_key)
        except NotFound:
            found = {}
        account = found.get("accountId")
        if not isinstance(account, str) or not account:
            raise Refused(f"the connector {self._connector_id} holds no account: choose another, and publish again")
        if account != self._place.account:
            self._place, self._walk = of_account(self._place, account), None
        self._mailbox.account_id = account
        self._looked_at = self._monotonic()

    async def _page(self, epoch: int) -> bool:
        """Read the next page of what is under way; returns whether the mailbox is read whole."""
        watching = list(self._watching())
        walk = self._walk or await self._new_walk()
        self._walk = walk
        if walk.since_ms is None:
            is_last = await self._history_page(walk, watching, epoch)
        else:
            is_last = await self._list_page(walk, walk.since_ms, watching, epoch)
        if is_last:
            self._walk = None
            await self._settle(watching, epoch)
            self._level_ms = walk.began_ms
        return is_last

    async def _new_walk(self) -> _Walk:
        walk = _Walk(self._admitter.now_ms())
        if not self._place.history:
            await self._list_from(walk)
        return walk

    async def _list_from(self, walk: _Walk) -> None:
        """Turn to a list: what the mailbox holds since it was read, up to where it is now."""
        active_ms = self._table.since_ms(list(self.slots)) or 0
        walk.ends_at = (await self._mailbox.profile()).history_id
        walk.since_ms, walk.page = resync_since_ms(self._place, active_ms), ""

    async def _history_page(self, walk: _Walk, watching: list[Watching], epoch: int) -> bool:
        try:
            found = await self._mailbox.history(self._place.history, walk.page)
        except Expired:
            log.warning("mail history expired", extra={"source": self.name, "history": self._place.history})
            await self._list_from(walk)
            return False
        news, now_ms = {}, self._admitter.now_ms()
        for one in found.added.values():
            labels = one.label_ids
            if labels is None:  # it has none, or the history does not tell
                mail = await self._labelled(one.id)
                labels = mail.labelIds if mail is not None else []
            news[one.id] = Recent(now_ms, now_ms - OLDER_MS, labels)
        ends_at = "" if found.next_page_token else found.history_id
        await self._take(news, noted(self._place, news), watching, epoch, ends_at)
        walk.page = found.next_page_token
        return not walk.page

    async def _list_page(self, walk: _Walk, since_ms: int, watching: list[Watching], epoch: int) -> bool:
        found = await self._mailbox.search(list_text(since_ms), walk.page)
        news = {}
        for one in reversed(found.messages):
            mail = await self._labelled(one.id)
            if mail is not None:
                news[one.id] = Recent(self._admitter.now_ms(), mail.at_ms, mail.labelIds)
        has_search = any(watch.query for _, watch in watching)
        place = noted(self._place, news) if has_search else self._place
        await self._take(news, place, watching, epoch, "" if found.next_page_token else walk.ends_at)
        walk.page = found.next_page_token
        return not walk.page

    async def _take(
        self, news: Mapping[str, Recent], place: Place, watching: list[Watching], epoch: int, ends_at: str
    ) -> None:
        """Admit the mail of a page by its labels, and move on if it was the last."""
        assert self._walk is not None, "a page belongs to a walk"
        if ends_at:
            place = moved(place, ends_at, self._walk.began_ms)
        await self._admit(_by_label(news, watching), place, epoch)
        self._mails.clear()

    async def _settle(self, watching: list[Watching], epoch: int) -> None:
        """Look at new messages again: ask the searches for them, and forget those that were looked at long enough."""
        recent, now_ms = self._place.recent, self._admitter.now_ms()
        if not recent:
            return
        wanted = _by_label(recent, watching)
        for query in sorted({watch.query for _, watch in watching} - {""}):
            found = await self._search(search_text(query, recent.values()))
            wanted += [
                (message, row, watch)
                for message in recent
                for row, watch in watching
                if watch.query == query and message in found and watch.takes(recent[message].labels)
            ]
        await self._admit(wanted, settled(self._place, now_ms), epoch)

    async def _search(self, text: str) -> set[str]:
        found, page = set[str](), ""
        while True:
            listed = await self._mailbox.search(text, page)
            found |= {one.id for one in listed.messages}
            page = listed.next_page_token
            if not page:
                return found

    async def _admit(self, wanted: Sequence[Wanted], place: Place, epoch: int) -> None:
        """Admit mail and store the place, together; nothing is written when there is nothing new."""
        fresh = [one for one in wanted if (one[0], one[1].name) not in self._known]
        while len(fresh) > BATCH:  # whole messages may be large: a few at a time
            head, fresh = fresh[:BATCH], fresh[BATCH:]
            await self._write(head, self._stored, epoch)
        await self._write(fresh, place, epoch)
        self._place = place
        self._known = {one for one in self._known if one[0] in place.recent}

    async def _write(self, fresh: Sequence[Wanted], place: Place, epoch: int) -> None:
        now, events = rfc3339(self._admitter.now_ms()), []
        for message, row, watch in fresh:
            whole = await self._whole(message)
            if whole is not None and whole[0].at_ms >= row.active_since_ms - CLOCK_MS:
                events.append(Event(row, f"gmail:{message}", mail_result(watch, whole[1], now), whole[0].at_ms))
        if events or is_news(self._stored, place):
            await self._admitter.admit(events, (self.name, epoch, msgspec.to_builtins(place)))
            self._stored = place
        self._fetched.clear()
        self._known |= {(message, row.name) for message, row, _ in fresh}
        metrics.EVENTS.labels(SOURCE).inc(len({message for message, _, _ in fresh}))
        metrics.MATCHES.labels(SOURCE).inc(len(events))

    async def _labelled(self, message: str) -> Mail | None:
        """Return the labels of a message; a page that is read again after a failure goes on where it stopped."""
        if message not in self._mails:
            self._mails[message] = await self._given(message, self._mailbox.labels)
        return self._mails[message]

    async def _whole(self, message: str) -> Whole | None:
        """Return a message, read once for all that want it; the one before is let go, since they may be large."""
        if message not in self._fetched:
            self._fetched = {message: await self._given(message, self._mailbox.message)}
        return self._fetched[message]

    async def _given(self, message: str, ask: Callable[[str], Awaitable[T | None]]) -> T | None:
        """Ask for a message; None for one that is gone, or was given up."""
        if message in self._place.left_out:
            return None
        try:
            found = await ask(message)
        except Unreadable as error:
            self._tries[message] += 1
            if self._tries[message] >= TRIES:
                await self._mailbox.profile()  # where nothing is answered, nothing is the message's fault
                raise await self._leave_out(message, error) from error
            raise
        del self._tries[message]
        return found

    async def _leave_out(self, message: str, why: Unreadable) -> Unreadable:
        """Give a message up, so that the mail behind it goes on; returns what is told of it."""
        assert self._epoch is not None, "a poll begins with _begin"
        place = without(self._place, message, why.message[:200])
        await self._admitter.admit([], (self.name, self._epoch, msgspec.to_builtins(place)))
        self._place = self._stored = place
        self._failures = 0
        del self._tries[message]
        metrics.SOURCE_LEFT_OUT.labels(SOURCE).inc()
        log.error("message left out", extra={"source": self.name, "message_id": message, "error": why.message})
        return Unreadable(f"message {message} was left out after {TRIES} tries: {why.message}")

    def _watching(self) -> Iterable[Watching]:
        """Ask the index who watches the mailbox."""
        key = mailbox_key(self.org_id, self._connector_id)
        for _, slot in self._table.index.match_keys(KeyKind.MAILBOX, [key]):
            row = self._table.row(slot)
            if row is not None:
                yield row, parse_gmail_watch(row.type, row.payload)

    def _names(self) -> list[Name]:
        return [name for slot in sorted(self.slots) if (name := self._table.name_of(slot)) is not None]


class Gmail:
    """All mail triggers, and their sources: one for each connected mailbox."""

    types = GMAIL_TYPES

    def __init__(
        self, settings: Settings, *, upstreams: Upstreams, admitter: Admitter, pool: Pool, table: Table,
        monotonic: Callable[[], float] = time.monotonic, **pacing: Any,
    ) -> None:  # fmt: skip
        self._index = table.index
        base, http = upstreams.find("pipedream", pipedream.BASE)
        self._project = pipedream.Pipedream(http, base, settings, monotonic=monotonic, **pacing)
        self._watched: dict[int, GmailSource] = {}
        #: By name, as long as some trigger wants them.
        self._sources: dict[str, GmailSource] = {}

        def make(org_id: str, connector_id: str) -> GmailSource:
            return GmailSource(
                org_id, connector_id, Mailbox(self._project, org_id), admitter=admitter, pool=pool, table=table,
                master_key=settings.master_key, monotonic=monotonic,
            )  # fmt: skip

        self._make = make

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger; raises BadInput."""
        watch = parse_gmail_watch(row.type, row.payload)
        if not self._project.is_set and not self._watched:
            log.warning("mail triggers wait: set B3OS_PIPEDREAM_PROJECT and its client")
        self.drop(slot)
        self._index.drop(slot)
        self._index.put_key(slot, KeyKind.MAILBOX, mailbox_key(row.org_id, watch.connector_id))
        made = self._make(row.org_id, watch.connector_id)
        source = self._watched[slot] = self._sources.setdefault(made.name, made)
        source.add(slot)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        source = self._watched.pop(slot, None)
        if source is not None:
            source.slots.discard(slot)

    def wanted(self) -> Collection[GmailSource]:
        """Return the sources of mailboxes that some trigger watches, if the operator's project is known.

        The others are forgotten here, and not in `drop`: a trigger that is replaced keeps its source.
        """
        self._sources = {name: source for name, source in self._sources.items() if source.slots}
        return list(self._sources.values()) if self._project.is_set else ()


def _by_label(messages: Mapping[str, Recent], watching: Sequence[Watching]) -> list[Wanted]:
    """Return which message is wanted by whom, without the searches."""
    return [
        (message, row, watch)
        for message, recent in messages.items()
        for row, watch in watching
        if not watch.query and watch.takes(recent.labels)
    ]
