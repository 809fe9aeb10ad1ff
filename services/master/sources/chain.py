"""A chain as a source: new blocks to events, behind a durable cursor that follows the chain through its forks.

One poll takes at most one step at each of three things: the front, where at most 32 new blocks are read; the blocks
whose events have waited long enough; and one batch behind the front, which reads final blocks a second time and fills
what downtime left. So a new block waits for one batch at most, however much there is to catch up, and a batch is made
small enough to take no longer than the pause that follows a poll otherwise. It has at least twice the blocks that are
new: what is behind shrinks however slow the upstreams are. Events, notices and cursor move in one transaction.
"""

import copy
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os.chain.blocks import Header
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, RpcError
from b3os.detect.matcher import Matcher
from b3os.reading.blocks import Forked, Inconsistent, final_height, joined, safe_height
from b3os.reading.spans import Spans
from b3os.reading.traces import RETRY_S
from b3os.store.triggers import TriggerRow
from services.master.chain.begin import block_before, shared_height
from services.master.chain.book import Book, Fate, Written
from services.master.chain.finality import SecondRead
from services.master.chain.heads import Heads
from services.master.chain.place import Held, Place, is_due, read_place
from services.master.chain.reading import CLOCK_MS, PATIENCE, Found, Reader
from services.master.table import Table

log = logging.getLogger("b3os.master")

#: New blocks of one step; when there are more, the front goes to the newest and the others are caught up beside it.
FRONT = 32
#: A batch is made larger for so many new blocks at most: after an outage they come all at once.
MOST_GAINED = 256
#: Waiting blocks that are read in one step.
HELD = 16
#: How often it is asked what is final, and how the upstreams fare.
FINAL_EVERY_S = 4.0
LOOK_EVERY_S = 15.0
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class ChainSource:
    """Follows one chain under the lease `chain:<id>`."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        table: Table,
        matcher: Matcher[TriggerRow],
        book: Book,
        now: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.chain = rpc.chain
        self.name = f"chain:{rpc.chain.id}"
        self._rpc = rpc
        self._table = table
        self._matcher = matcher
        self._book = book
        self._now = now
        self._now_ms = now_ms
        self._reader = Reader(rpc, matcher)
        self._second = SecondRead(rpc, self._reader)
        self._spans = Spans(now, aim_s=rpc.chain.poll_s)
        self._heads = Heads(rpc.chain, now)
        self._epoch: int | None = None
        self._place = Place(recent=[(0, "")])
        #: The highest block that an upstream has announced, and how many were new at the last poll.
        self._announced = self._gained = 0
        self._failures = 0
        #: Second reads in a row without their traces, and when the next one is made.
        self._untraced = 0
        self._settles_at = float("-inf")
        self._final = self._safe = 0
        self._final_at = self._looked_at = float("-inf")

    @property
    def is_wanted(self) -> bool:
        """Whether any trigger listens to this chain."""
        return self._matcher.watches(self.chain.id)

    async def forget(self) -> None:
        """Drop what a lost lease makes stale."""
        self._epoch = None

    async def listen(self) -> None:
        """Hear of new blocks until cancelled."""
        await self._heads.listen()

    async def rest(self, pause_s: float) -> None:
        """Wait until the next poll, or a new block."""
        await self._heads.rest(pause_s, self._place.head)

    def failed(self, error: Exception) -> float:
        """Note a failed poll; returns the seconds to wait."""
        if isinstance(error, RpcError) and error.cause is Cause.TOO_WIDE and self._spans.shrink(error):
            return 0.0
        self._failures += 1
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how far behind the chain this source is, and what it has covered."""
        place = self._place
        missing = sum(gap.last - gap.first + 1 for gap in place.gaps)
        detail = {
            "announced": self._announced,
            "head": place.head,
            "final": place.final,
            "seen": place.seen,
            "missing": missing,
            "repaired": place.repaired,
            "gaps": [[gap.first, gap.last] for gap in place.gaps],
            "waiting": len(place.held),
            "subscribed": self._heads.is_open,
            "upstreams": self._rpc.upstreams.report(),
        }
        return f"{max(0, self._announced - place.head) + missing} blocks", detail

    def is_level(self, number: int) -> bool:
        """Whether all is read, twice up to this block, and nothing waits."""
        place = self._place
        return place.final >= number and not place.gaps and not self._place.due(place.head, place.final)

    async def poll(self, epoch: int) -> float:
        """Take one step at the front, at what waits and behind; returns the seconds until the next poll."""
        await self._look_around()
        head = await self._rpc.height()
        self._gained = min(MOST_GAINED, max(0, head - self._announced)) if self._announced else 0
        self._announced = max(self._announced, head)
        if epoch != self._epoch:
            await self._begin(epoch, head)
        is_busy = await self._front(head)
        await self._find_final()
        is_busy |= await self._waiting()
        is_busy |= await self._behind()
        self._failures = 0
        return 0.0 if is_busy else self.chain.poll_s

    async def _look_around(self) -> None:
        upstreams = self._rpc.upstreams
        upstreams.turn()
        if len(upstreams.all) > 1 and self._now() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = self._now()
            await self._rpc.look_around()

    async def _front(self, head: int) -> bool:
        """Read the newest blocks; returns whether there are more."""
        place = copy.copy(self._place)
        if head <= place.head:
            return False  # a replica that lags, or nothing new: only a block that does not join ours proves a fork
        if head - place.head > FRONT and not await self._jump(place, head):
            return True
        width = self._width(FRONT)
        first, until = place.head + 1, min(head, place.head + width)
        try:
            blocks = await joined(self._rpc, first, until, place.head_hash)
        except Forked:
            return await self._go_back()
        if not blocks:
            return False
        found = await self._read(self._rpc, blocks)
        place.advance([(block.height, block.hash) for block in blocks])
        place.time_ms = blocks[-1].time_ms
        due = [one for one in found if is_due(one.policy, one.block, place.head)]
        later = {Held(one.block, one.policy) for one in found if one.policy != "finalized"}
        place.hold(later - {Held(one.block, one.policy) for one in due})
        await self._write(place, due, "pending")
        metrics.CHAIN_HEAD.labels(str(self.chain.id)).set(place.head)
        return place.head < head

    async def _jump(self, place: Place, head: int) -> bool:
        """Go on at the newest block when we are far behind; False when a fork has to be gone back from first."""
        last, before = await self._rpc.headers([place.head, head - 1])
        if last is None or before is None:
            raise Inconsistent(f"chain {self.chain.id}: block {head} is announced, blocks before it are not served")
        if last.hash != place.head_hash:
            await self._go_back()
            return False
        place.jump((before.height, before.hash))
        return True

    async def _waiting(self) -> bool:
        """Read the blocks again whose events have waited long enough."""
        due = self._place.due(self._place.head, self._safe)[:HELD]
        if not due:
            return False
        place = copy.copy(self._place)
        numbers = sorted({held.block for held in due})
        found: list[Found] = []
        for number, header in zip(numbers, await self._rpc.headers(numbers), strict=True):
            kept = place.hash_of(number)
            if header is None or (kept is not None and kept != header.hash):
                raise Inconsistent(f"chain {self.chain.id}: block {number} is not the one that was read")
            found += await self._read(self._rpc, [header])
        place.held = [held for held in place.held if held not in due]
        await self._write(place, [one for one in found if Held(one.block, one.policy) in due], "pending")
        return True

    async def _behind(self) -> bool:
        """Read one batch of final blocks again, or of a gap; returns whether there is more to do."""
        place = copy.copy(self._place)
        target = min(self._final, place.head)
        began = self._now()
        if place.final < target:
            is_done = await self._settle(place, target)
        elif place.gaps:
            is_done = await self._fill(place)
        else:
            return False
        self._spans.took(self._now() - began)
        return is_done and (self._place.final < target or bool(self._place.gaps))

    async def _settle(self, place: Place, target: int) -> bool:
        if self._rpc.upstreams.is_alone() or self._now() < self._settles_at:
            return False  # a second opinion, or a trace, is worth a moment's wait: nothing at the front waits for this
        rpc = self._rpc.after(self._rpc.answered)
        first, until = place.final + 1, min(target, place.final + self._batch(rpc))
        try:
            blocks = await joined(rpc, first, until, place.recent[0][1])
        except Forked:
            await self._go_back()
            return False
        if not blocks or self._differs(blocks):
            return False
        last = blocks[-1]
        patient = self._failures < PATIENCE
        found = await self._second.read(rpc, blocks, patient=patient, now_ms=self._now_ms())
        self._spans.grow(rpc.answered, len(blocks))
        if self._waits_for_traces():
            return False
        pending = await self._book.pending(self.name, last.height)
        fates = await self._second.fates(pending, found, last.height)
        known = [one for one in found if not any(gap.first <= one.block <= gap.last for gap in place.gaps)]
        place.settle(last.height, last.hash)
        place.time_ms = max(place.time_ms, last.time_ms)
        written = await self._write(place, found, "finalized", fates)
        self._count(found, known, written)
        return True

    def _waits_for_traces(self) -> bool:
        """Note how the traces of a second read fared; says whether it is made again for them."""
        self._untraced = self._untraced + 1 if self._second.is_partial else 0
        if not 0 < self._untraced <= PATIENCE:
            return False
        self._settles_at = self._now() + RETRY_S
        return True

    def _count(self, found: Sequence[Found], known: Sequence[Found], written: Written) -> None:
        chain = str(self.chain.id)
        metrics.CHAIN_FINAL.labels(chain).set(self._place.final)
        for one in written.settled:
            metrics.CHAIN_SETTLED.labels(chain, one.state).inc()
        fired = {id(one) for one, o in zip(found, written.outcomes, strict=True) if o.status == "accepted"}
        late = [one for one in known if id(one) in fired and one.policy != "finalized"]
        if late:
            metrics.CHAIN_SETTLED.labels(chain, "late").inc(len(late))
            log.warning("events were missed at first", extra={"chain": self.chain.id, "events": len(late)})

    async def _fill(self, place: Place) -> bool:
        gap = place.gaps[0]
        until = min(gap.last, gap.first + self._batch(self._rpc) - 1)
        try:
            blocks = await joined(self._rpc, gap.first, until, gap.parent)
        except Forked:
            return await self._go_back()
        if not blocks or self._differs(blocks):
            return False
        found = await self._read(self._rpc, blocks)
        place.fill(blocks[-1].height, blocks[-1].hash)
        due = [one for one in found if is_due(one.policy, one.block, place.head)]
        later = {Held(one.block, one.policy) for one in found if one.policy != "finalized"}
        place.hold(later - {Held(one.block, one.policy) for one in due})
        await self._write(place, due, "pending")
        return True

    def _differs(self, blocks: Sequence[Header]) -> bool:
        """Say whether blocks are of another fork than the front, which goes back from it when it meets it."""
        kept = dict(self._place.recent)
        return any(kept.get(block.height, block.hash) != block.hash for block in blocks)

    def _width(self, most: int) -> int:
        return min(most, self._spans.of(self._rpc.first()))

    def _batch(self, rpc: Rpc) -> int:
        asked = self._rpc.upstreams.order()[:2]  # a second opinion is asked for the same blocks
        is_large, least = self._reader.reads_blocks, 2 * self._gained
        return min(self._spans.batch(one, is_large=is_large, least=least) for one in (rpc.first(), *asked))

    async def _read(self, rpc: Rpc, blocks: Sequence[Header]) -> list[Found]:
        patient = self._failures < PATIENCE
        found = await self._reader.read(rpc, blocks, patient=patient, now_ms=self._now_ms())
        self._spans.grow(rpc.answered, len(blocks))
        return found

    async def _write(self, place: Place, found: Sequence[Found], state: str, fates: Sequence[Fate] = ()) -> Written:
        assert self._epoch is not None, "a poll begins with _begin"
        place.spans = self._spans.learnt
        position = (self.name, self._epoch, _plain(place))
        written = await self._book.write(position, found, state=state, fates=fates)
        self._place = place
        return written

    async def _find_final(self) -> None:
        """Learn what is final, now and then; neither it nor `safe` is ever above what was read."""
        if self._now() - self._final_at < FINAL_EVERY_S:
            return
        final = await final_height(self._rpc, self._place.head)
        is_asked = any(held.policy == "safe" for held in self._place.held)
        safe = await safe_height(self._rpc, final) if is_asked else final
        self._final, self._safe = max(self._final, final), max(self._safe, safe)
        self._final_at = self._now()

    async def _go_back(self) -> bool:
        """Move the head to the newest remembered block that the chain still has."""
        place = copy.copy(self._place)
        shared = await shared_height(self._rpc, place)
        place.go_back(shared)
        metrics.CHAIN_FORKS.labels(str(self.chain.id)).inc()
        log.warning("chain forked", extra={"chain": self.chain.id, "from": self._place.head, "back_to": shared})
        self._place = place
        return True

    async def _begin(self, epoch: int, head: int) -> None:
        """Take up the stored cursor, or begin at the block before the oldest trigger's time."""
        place = read_place(await self._book.position(self.name) or {})
        since_ms = (self._table.since_ms(self._table.index.slots_on(self.chain.id)) or 0) - CLOCK_MS
        if place is not None and place.time_ms < since_ms:
            start = await block_before(self._rpc, since_ms, head)
            place = place if start.height <= place.head else _placed(start)
        if place is None:
            place = _placed(await block_before(self._rpc, since_ms, head))
        self._spans.learnt = dict(place.spans)
        self._final, self._final_at = 0, float("-inf")
        self._epoch = epoch
        try:
            await self._write(place, [], "pending")
        except BaseException:
            self._epoch = None
            raise


def _placed(start: Header) -> Place:
    return Place(recent=[(start.height, start.hash)], time_ms=start.time_ms)


def _plain(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(place)
    return found
