"""Triggers on a chain's state as a source: at a new head all thresholds are read at one block, and edges become events.

Each policy has a block of its own, the newest that is as sure as it wants; everything that its triggers ask is read at
that block, identical calls once. What changed is written with the events and the cursor, after another upstream said
the same; a reading that changes nothing writes nothing. Blocks are read in order: one that is older than the last
reading is a replica's that lags. A fork takes back the changes of the blocks that it took away, and the new head is
read in their place.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os.chain.blocks import Header
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError
from b3os.detect.edges import Place, settled
from b3os.detect.thresholds import Call
from b3os.reading.blocks import Inconsistent, final_height, safe_height
from b3os.reading.states import Answer, States
from b3os.reading.tokens import Tokens
from b3os.store.trigger_notices import LIMIT
from services.master.chain.book import Written
from services.master.chain.heads import Heads
from services.master.chain.place import Policy
from services.master.chain.reading import Found
from services.master.thresholds.asking import Asking, backoff_s
from services.master.thresholds.book import EdgeBook
from services.master.thresholds.held import Group, Held, Holding
from services.master.thresholds.judge import Judge, Step

log = logging.getLogger("b3os.master")

#: A chain is read at most so often, and never for more than half of the time.
PAUSE_S = 1.0
FINAL_EVERY_S = 4.0
#: Readings in a row without the block's state, from which on triggers are told: a backend that lags soon has it.
PATIENCE = 3
#: Triggers that are judged at once; a judgement takes 5 to 50 µs.
JUDGED = 500


class ThresholdSource:
    """Reads the state of one chain under the lease `thresholds:<id>`."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        book: EdgeBook,
        now: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.chain = rpc.chain
        self.name = f"thresholds:{rpc.chain.id}"
        self.holding = Holding(rpc.chain.confirmations)
        self._rpc = rpc
        self._book = book
        self._now = now
        self._now_ms = now_ms
        self._asking = Asking(States(rpc), now)
        #: Who is asked for a second opinion, by the upstream that gave the first.
        self._others: dict[str, States] = {}
        self._heads = Heads(rpc.chain, now)
        self._tokens = Tokens(rpc)
        self._epoch: int | None = None
        self._failures = 0
        self._announced = 0
        #: No change that is known up to `_final` can be taken back; up to `_settled` every fate is decided, and above
        #: `_open` there is none to decide.
        self._final = self._settled = self._open = -1
        self._final_at = float("-inf")

    async def forget(self) -> None:
        """Drop what a lost lease makes stale."""
        self._epoch = None

    async def listen(self) -> None:
        """Hear of new blocks until cancelled."""
        await self._heads.listen()

    async def rest(self, pause_s: float) -> None:
        """Wait until the next poll, or a new block."""
        await self._heads.rest(pause_s, self._announced)

    def failed(self, error: Exception) -> float:
        """Note a failed poll; returns the seconds to wait."""
        self._failures += 1
        return backoff_s(self._failures)

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how far the readings are behind the chain, and what is read."""
        heads = [group.head for group in self.holding.groups.values()]
        behind = max(0, self._announced - min(heads, default=self._announced))
        detail = {
            "announced": self._announced,
            "triggers": len(self.holding),
            "calls": len({held.watch.call for held in self.holding}),
            "failing": len(self._asking),
            "upstreams": self._rpc.upstreams.report(),
        }
        return f"{behind} blocks", detail

    async def poll(self, epoch: int) -> float:
        """Read every policy whose block is new, and decide fates; returns the seconds until the next poll."""
        self._rpc.upstreams.turn()
        head = await self._rpc.height()
        self._announced = max(self._announced, head)
        if epoch != self._epoch:
            await self._begin(epoch, head)
        await self._read([group for group in self.holding.groups.values() if self._is_due(group, head)], head)
        await self._settle(head)
        self._failures = 0
        return self.chain.poll_s

    async def _begin(self, epoch: int, head: int) -> None:
        position = await self._book.position(self.name) or {}
        stored = await self._book.states(self.name)
        places = msgspec.convert(position.get("at", {}), dict[str, Place])
        self._final = int(position.get("final", -1))
        self._settled, self._final_at = -1, float("-inf")
        self._open = max((head, *(height for height, _ in places.values())))
        self._asking.forget()
        self.holding.restore(places, stored)
        self._epoch = epoch

    def _is_due(self, group: Group, head: int) -> bool:
        """Whether a group has a new head, or triggers that were not read at the last one and may be now."""
        now = self._now()
        if now < group.due_at or head > group.head:
            return now >= group.due_at
        return any(self._asking.is_due(group.held[slot].watch.call) for slot in group.fresh)

    async def _read(self, groups: Collection[Group], head: int) -> None:
        """Read the groups one after the other; one that cannot be read holds no other up."""
        problems: list[ChainUnreachable | RpcError] = []
        for group in groups:
            began = self._now()
            try:
                header = await self._header(group.policy, head)
                if header is not None:
                    await self._read_at(group, header)
            except (ChainUnreachable, RpcError) as error:
                problems.append(error)
                group.failures += 1
                group.due_at = self._now() + backoff_s(group.failures)
                if isinstance(error, RpcError) and error.cause is Cause.MISSING and group.failures >= PATIENCE:
                    await self._tell_all(group, f"the block that it waits for cannot be read: {error.message}")
            else:
                group.head, group.failures = head, 0
                group.due_at = self._now() + max(PAUSE_S, self._now() - began)
        if problems and len(problems) == len(groups):
            raise problems[-1]

    async def _header(self, policy: Policy, head: int) -> Header | None:
        """Return the block that a policy reads at; None while the chain is too short."""
        height = head - policy if isinstance(policy, int) else await final_height(self._rpc, head)
        if policy == "safe":
            height = await safe_height(self._rpc, height)
        if height < 0:
            return None
        (header,) = await self._rpc.headers([height])
        if header is None:
            raise Inconsistent(f"chain {self.chain.id}: block {height} is announced but not served yet")
        return header

    async def _read_at(self, group: Group, header: Header) -> None:
        place = (header.height, header.hash)
        if group.at is not None and place[0] < group.at[0]:
            return  # of a replica that lags, or of a fork that is not yet as long as what it replaces
        slots = [*group.held] if place != group.at else [slot for slot in group.fresh if slot in group.held]
        chosen = {slot: group.held[slot] for slot in slots}
        gone = await self._gone(group, header)
        answers = await self._asking.answers(header, {held.watch.call for held in chosen.values()})
        metrics.EVENTS.labels(self.name).inc(len(answers))
        step = await self._judged(chosen, answers, header, gone)
        changed = {chosen[slot].watch.call for slot in step.states}
        if doubtful := await self._doubtful(header, {call: answers[call] for call in changed & answers.keys()}):
            answers |= dict.fromkeys(doubtful, "two upstreams give different answers: it is asked again")
            step = await self._judged(chosen, answers, header, gone)
        if step.states:
            await self._tokens.name([f.event.result for f in step.found if f.event.result.get("tokenAddress")])
            await self._write(group, place, chosen, step)
        group.at = place
        for slot, held in chosen.items():
            if group.held.get(slot) is held:
                held.state, held.answer = step.states.get(slot, held.state), answers.get(held.watch.call)
                (group.fresh.discard if isinstance(held.answer, bytes) else group.fresh.add)(slot)
        await self._tell(chosen.values(), step)

    async def _gone(self, group: Group, header: Header) -> set[Place]:
        """Return the blocks of changes that a fork took since the last reading."""
        if group.at is not None and group.at[1] in (header.hash, header.parent_hash):
            return set()
        if group.at is not None and group.at[0] < header.height:
            (before,) = await self._rpc.headers([group.at[0]])
            if before is not None and before.hash == group.at[1]:
                return set()
        places = {place for held in group.held.values() for place in held.state.places if place[0] > self._final}
        return {place for place, is_there in (await self._are_there(places)).items() if not is_there}

    async def _are_there(self, places: Collection[Place]) -> dict[Place, bool]:
        """Say which blocks the chain has."""
        heights = sorted({height for height, _ in places})
        headers = dict(zip(heights, await self._rpc.headers(heights), strict=True))
        if any(header is None for header in headers.values()):
            raise Inconsistent(f"chain {self.chain.id}: remembered blocks are not served; is the upstream behind?")
        return {place: header.hash == place[1] for place in places if (header := headers[place[0]]) is not None}

    async def _doubtful(self, header: Header, answers: Mapping[Call, Answer]) -> set[Call]:
        """Return the calls to which another upstream, where there is one, gives another answer."""
        first = self._rpc.answered
        if not answers or first is None or len(self._rpc.upstreams.order()) < 2:
            return set()
        other = self._others.setdefault(first.name, States(self._rpc.after(first)))
        try:
            again = await other.read(header, sorted(answers))
        except (ChainUnreachable, RpcError):
            return set()  # a second opinion that is not to be had
        return {call for call, answer in answers.items() if isinstance(again[call], bytes) and again[call] != answer}

    async def _judged(
        self, chosen: Mapping[int, Held], answers: Mapping[Call, Answer], header: Header, gone: set[Place]
    ) -> Step:
        judge = Judge(self.chain, header, gone, self._now_ms())
        for number, (slot, held) in enumerate(chosen.items(), 1):
            judge.take(slot, held, answers.get(held.watch.call))
            if number % JUDGED == 0:
                await asyncio.sleep(0)
        metrics.MATCHES.labels(self.name).inc(len(judge.step.found))
        return judge.step

    async def _write(self, group: Group, place: Place, chosen: Mapping[int, Held], step: Step) -> None:
        edges = {chosen[slot].row.name: chosen[slot].marked(state) for slot, state in step.states.items()}
        places = {**self.holding.places(), str(group.policy): place}
        state = "finalized" if group.policy == "finalized" else "pending"
        await self._save(places, step.found, state=state, edges=edges)
        self._open = max(self._open, place[0])
        self._settled = min(self._settled, place[0] - 1)  # many confirmations: the block may be final long since

    async def _save(
        self, places: Mapping[str, Place], found: Sequence[Found], *, final: int = -1, **about: Any
    ) -> Written:
        assert self._epoch is not None, "a poll begins with _begin"
        cursor = self.name, self._epoch, {"at": places, "final": max(self._final, final)}
        try:
            return await self._book.write(cursor, found, **about)
        except BaseException:
            self._epoch = None  # it may be done all the same: the next poll begins with what is stored
            raise

    async def _settle(self, head: int) -> None:
        """Decide the events whose blocks are final, and forget what no fork can take back any more."""
        if self._settled >= self._open or self._now() - self._final_at < FINAL_EVERY_S:
            return
        self._final_at = self._now()
        final = await final_height(self._rpc, head)
        if final <= self._settled:
            return
        pending = await self._book.pending(self.name, final)
        changes = {place for held in self.holding for place in held.state.places if self._final < place[0] <= final}
        there = await self._are_there(changes | {(one.block, one.block_hash) for one in pending})
        if not all(there[place] for place in changes):
            return  # a fork that the next reading takes back first
        fates = [
            (one.org_id, one.run_id, "finalized" if there[one.block, one.block_hash] else "removed") for one in pending
        ]
        fresh = [(held, settled(held.state, final)) for held in self.holding]
        changed = [(held, state) for held, state in fresh if state != held.state]
        if fates or changed:
            edges = {held.row.name: held.marked(state) for held, state in changed}
            written = await self._save(
                self.holding.places(), [], final=final, state="pending", edges=edges, fates=sorted(fates)
            )
            for one in written.settled:
                metrics.CHAIN_SETTLED.labels(str(self.chain.id), one.state).inc()
        for held, state in changed:
            held.state = state
        self._final = max(self._final, final)
        self._settled = final if len(pending) < LIMIT else self._settled

    async def _tell(self, chosen: Iterable[Held], step: Step) -> None:
        """Tell triggers what is new to them: that they cannot be read, or can again."""
        by_name = {held.row.name: held for held in chosen}
        wrong = {name: why for name, why in step.wrong.items() if by_name[name].problem != why}
        cured = [name for name in step.cured if by_name[name].problem != ""]
        await self._book.tell(wrong, cured)
        for name in (*wrong, *cured):
            by_name[name].problem = wrong.get(name, "")

    async def _tell_all(self, group: Group, why: str) -> None:
        held = list(group.held.values())
        await self._tell(held, Step(wrong={one.row.name: why for one in held}))
        for one in held:
            one.answer = None  # whatever it answers next takes the problem back
