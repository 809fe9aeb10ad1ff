"""What one reading of a chain's state brings about: events, what is known of triggers, what they are told. Pure."""

from collections.abc import Collection
from typing import Any

import msgspec

from b3os.chain.blocks import Header
from b3os.chain.chains import Chain
from b3os.detect.edges import EdgeState, Place, rewound, seen
from b3os.detect.thresholds import read_outputs
from b3os.errors import BadInput
from b3os.reading.states import Answer, read_result
from b3os.run.times import rfc3339
from b3os.store.triggers import Name
from services.master.admit import Event
from services.master.chain.reading import Found
from services.master.thresholds.held import Held


class Step(msgspec.Struct):
    """One reading: states that change by slot, events, and triggers that cannot be read or can again."""

    states: dict[int, EdgeState] = {}
    found: list[Found] = []
    wrong: dict[Name, str] = {}
    cured: list[Name] = []


class Judge:
    """Judges the readings at one block; `gone` are the blocks that a fork took since the last."""

    def __init__(self, chain: Chain, header: Header, gone: Collection[Place], now_ms: int) -> None:
        self._chain = chain
        self._header = header
        self._gone = gone
        self._now_ms = now_ms
        self.step = Step()

    def take(self, slot: int, held: Held, answer: Answer | None) -> None:
        """Take the answer of one trigger's call; without one, only what a fork took is taken back.

        The same bytes as last time say nothing new.
        """
        if not self._gone and (answer is None or answer == held.answer):
            return
        state = rewound(held.state, self._gone)
        if isinstance(answer, bytes):
            state = self._read(held, state, answer)
        elif answer is not None:
            self.step.wrong[held.row.name] = answer
        if state != held.state:
            self.step.states[slot] = state

    def _read(self, held: Held, state: EdgeState, answer: bytes) -> EdgeState:
        watch, header = held.watch, self._header
        try:
            outputs = read_outputs(watch, answer)
        except BadInput as error:
            self.step.wrong[held.row.name] = error.message
            return state
        fresh = f"evm:{self._chain.id}:state:{header.hash}:{held.mark}"
        holds, keeps = watch.holds.holds(outputs), watch.keeps.holds(outputs)
        state, edge = seen(state, (header.height, header.hash), fresh, holds=holds, keeps=keeps)
        self.step.cured.append(held.row.name)
        if edge:
            self.step.found.append(self._found(held, edge, outputs))
        return state

    def _found(self, held: Held, edge: str, outputs: dict[str, Any]) -> Found:
        header = self._header
        result = read_result(held.watch, outputs, header, symbol=self._chain.symbol)
        result["triggeredAt"] = rfc3339(self._now_ms)
        policy = self._chain.confirmations if held.watch.policy is None else held.watch.policy
        return Found(Event(held.row, edge, result, header.time_ms), header.height, header.hash, "", policy)
