"""Triggers on a chain's state as a source: at a new head all thresholds are read at one block, and edges become events.

Each policy has a block of its own, the newest that is as sure as it wants; everything that its triggers ask is read at
that block, identical calls once. What changed is written with the events and the cursor; a reading that changes nothing
writes nothing. Blocks are read in order: one that is older than the last reading is a replica's that lags. A fork takes
back the changes of the blocks that it took away, and the new head is read in their place.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec

from b3os import metrics
from b3os.chain.blocks import Header
from b3os.chain.chains import Chain
from b3os.chain.rpc import HttpClient, Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError
from b3os.detect.edges import EdgeState, Place, rewound, seen, settled
from b3os.detect.thresholds import STATE_TYPES, Call, parse_state_watch, read_outputs
from b3os.errors import BadInput
from b3os.reading.blocks import Inconsistent, final_height, safe_height
from b3os.reading.states import Answer, States, read_result
from b3os.reading.tokens import Tokens
from b3os.run.times import rfc3339
from b3os.store.trigger_notices import LIMIT
from b3os.store.triggers import Name, TriggerRow
from services.master.admit import Event
from services.master.chain.heads import Heads
from services.master.chain.place import Policy
from services.master.chain.reading import Found
from services.master.thresholds.book import EdgeBook
from services.master.thresholds.held import Group, Held, Holding

log = logging.getLogger("b3os.master")

#: A chain is read at most so often, and never for more than half of the time.
PAUSE_S = 1.0
FINAL_EVERY_S = 4.0
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Triggers that are judged at once; a judgement takes 5 to 50 µs.
JUDGED = 500
#: How a call stands that has not failed: how often it has, and when it may be asked.
_NEVER = (0, float("-inf"))


class _Step(msgspec.Struct):
    """What one reading brings about."""

    states: dict[int, EdgeState] = {}
    found: list[Found] = []
    wrong: dict[Name, str] = {}
    cured: list[Name] = []


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
        self._states = States(rpc)
        self._heads = Heads(rpc.chain, now)
        self._tokens = Tokens(rpc)
        self._epoch: int | None = None
        self._failures = 0
        self._announced = 0
        #: Calls that failed: how often in a row, and when they are asked again.
        self._failing: dict[Call, tuple[int, float]] = {}
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
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]

    def report(self) -> tuple[str, dict[str, Any]]:
        """Say how far the readings are behind the chain, and what is read."""
        heads = [group.head for group in self.holding.groups.values()]
        behind = max(0, self._announced - min(heads, default=self._announced))
        detail = {
            "announced": self._announced,
            "triggers": len(self.holding),
            "calls": len({held.watch.call for held in self.holding}),
            "failing": len(self._failing),
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
        self._failing.clear()
        self.holding.restore(places, stored)
        self._epoch = epoch

    def _is_due(self, group: Group, head: int) -> bool:
        """Whether a group has a new head, or triggers that were not read at the last one and may be now."""
        now = self._now()
        if now < group.due_at or head > group.head:
            return now >= group.due_at
        return any(self._failing.get(group.held[slot].watch.call, _NEVER)[1] <= now for slot in group.fresh)

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
                group.due_at = self._now() + BACKOFF_S[min(group.failures, len(BACKOFF_S)) - 1]
                if isinstance(error, RpcError) and error.cause is Cause.MISSING:
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
        answers = await self._answers(header, {held.watch.call for held in chosen.values()})
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

    async def _answers(self, header: Header, calls: set[Call]) -> dict[Call, Answer]:
        """Ask every call that is due; one that failed last time is asked alone, and less and less often."""
        now = self._now()
        alone = {call for call in calls if call in self._failing}
        due = {call for call in alone if self._failing[call][1] <= now}
        answers = await self._states.read(header, sorted(calls - alone), alone=sorted(due))
        metrics.EVENTS.labels(self.name).inc(len(answers))
        for call, answer in answers.items():
            if isinstance(answer, str):
                failures = self._failing.get(call, _NEVER)[0] + 1
                self._failing[call] = (failures, now + BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
            else:
                self._failing.pop(call, None)
        return answers

    async def _judged(
        self, chosen: Mapping[int, Held], answers: Mapping[Call, Answer], header: Header, gone: set[Place]
    ) -> _Step:
        step = _Step({}, [], {}, [])
        for number, (slot, held) in enumerate(chosen.items(), 1):
            answer = answers.get(held.watch.call)
            if gone or (answer is not None and answer != held.answer):
                self._judge(step, slot, held, answer, header, gone)
            if number % JUDGED == 0:
                await asyncio.sleep(0)
        metrics.MATCHES.labels(self.name).inc(len(step.found))
        return step

    def _judge(
        self, step: _Step, slot: int, held: Held, answer: Answer | None, header: Header, gone: set[Place]
    ) -> None:
        """Take one trigger's reading into a step; without an answer only what a fork took is taken back."""
        state, name, edge = rewound(held.state, gone), held.row.name, ""
        if isinstance(answer, bytes):
            try:
                outputs = read_outputs(held.watch, answer)
            except BadInput as error:
                step.wrong[name] = error.message
            else:
                fresh = f"evm:{self.chain.id}:state:{header.hash}:{held.mark}"
                place, watch = (header.height, header.hash), held.watch
                holds, keeps = watch.holds.holds(outputs), watch.keeps.holds(outputs)
                state, edge = seen(state, place, fresh, holds=holds, keeps=keeps)
                step.cured.append(name)
                if edge:
                    step.found.append(self._found(held, edge, outputs, header))
        elif answer is not None:
            step.wrong[name] = answer
        if state != held.state:
            step.states[slot] = state

    def _found(self, held: Held, edge: str, outputs: dict[str, Any], header: Header) -> Found:
        result = read_result(held.watch, outputs, header, symbol=self.chain.symbol)
        result["triggeredAt"] = rfc3339(self._now_ms())
        policy = self.chain.confirmations if held.watch.policy is None else held.watch.policy
        return Found(Event(held.row, edge, result, header.time_ms), header.height, header.hash, "", policy)

    async def _write(self, group: Group, place: Place, chosen: Mapping[int, Held], step: _Step) -> None:
        edges = {chosen[slot].row.name: chosen[slot].marked(state) for slot, state in step.states.items()}
        places = {**self.holding.places(), str(group.policy): place}
        state = "finalized" if group.policy == "finalized" else "pending"
        await self._book.write(self._position(places), step.found, state=state, edges=edges)
        self._open = max(self._open, place[0])
        self._settled = min(self._settled, place[0] - 1)  # many confirmations: the block may be final long since

    def _position(self, places: Mapping[str, Place], final: int | None = None) -> tuple[str, int, dict[str, Any]]:
        assert self._epoch is not None, "a poll begins with _begin"
        return self.name, self._epoch, {"at": places, "final": self._final if final is None else final}

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
            cursor = self._position(self.holding.places(), final)
            written = await self._book.write(cursor, [], state="pending", edges=edges, fates=sorted(fates))
            for one in written.settled:
                metrics.CHAIN_SETTLED.labels(str(self.chain.id), one.state).inc()
        for held, state in changed:
            held.state = state
        self._final = max(self._final, final)
        self._settled = final if len(pending) < LIMIT else self._settled

    async def _tell(self, chosen: Iterable[Held], step: _Step) -> None:
        """Tell triggers what is new to them: that they cannot be read, or can again."""
        by_name = {held.row.name: held for held in chosen}
        wrong = {name: why for name, why in step.wrong.items() if by_name[name].problem != why}
        cured = [name for name in step.cured if by_name[name].problem != ""]
        await self._book.tell(wrong, cured)
        for name in (*wrong, *cured):
            by_name[name].problem = wrong.get(name, "")

    async def _tell_all(self, group: Group, why: str) -> None:
        held = list(group.held.values())
        await self._tell(held, _Step({}, [], {one.row.name: why for one in held}, []))
        for one in held:
            one.answer = None  # whatever it answers next takes the problem back


class Thresholds:
    """The configured chains, and every trigger on the state of one."""

    types = STATE_TYPES

    def __init__(self, chains: Iterable[Chain], *, http: HttpClient, book: EdgeBook) -> None:
        self._sources = {chain.id: ThresholdSource(Rpc(chain, http), book=book) for chain in chains}

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger; raises BadInput."""
        watch = parse_state_watch(row.type, row.payload)
        wanted = self._sources.get(watch.chain_id)
        for source in self._sources.values():
            if source is not wanted:
                source.holding.drop(slot)
        if wanted is None:
            raise BadInput(f"chain {watch.chain_id} is not configured: add it to B3OS_CHAINS", code=400337)
        wanted.holding.put(slot, row, watch)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        for source in self._sources.values():
            source.holding.drop(slot)

    def wanted(self) -> Collection[ThresholdSource]:
        """Return the sources of chains on whose state some trigger is."""
        return [source for source in self._sources.values() if len(source.holding)]
