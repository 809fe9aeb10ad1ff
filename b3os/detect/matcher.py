"""Chain triggers over the compiled index: events in, matches out. Pure.

The index knows slots; a row is asked for, and its watch made, when a slot is hit.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from b3os._speedups.trigger_index import TriggerIndex
from b3os.detect.event_logs import LogEvent
from b3os.detect.evm import (
    Call,
    Watch,
    block_key,
    log_result,
    native_key,
    native_result,
    parse_watch,
    revert_result,
)
from b3os.detect.keys import KeyKind
from b3os.detect.patterns import decode_watch, packed, watch_pattern
from b3os.errors import BadInput

#: Watches that are kept; the oldest leave first.
READY_WATCHES = 8192


class Row(Protocol):
    """A trigger as the store gives it: with a pattern, or with its payload."""

    @property
    def workflow_id(self) -> str: ...
    @property
    def node_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def pattern(self) -> bytes: ...


RowT = TypeVar("RowT", bound=Row)


class LogMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A log that a trigger asked for, and the result it makes."""

    row: RowT
    watch: Watch
    log: LogEvent
    result: dict[str, Any]


class Transfer(msgspec.Struct, frozen=True):
    """A native transfer: addresses and hash as 0x strings, value in wei.

    `inner` names one that a call inside the transaction made; it is empty for what the transaction itself moves.
    """

    hash: str
    sender: str
    to: str
    value: int
    place: dict[str, Any]
    inner: str = ""


class NativeMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A native transfer that a trigger asked for."""

    row: RowT
    transfer: Transfer
    result: dict[str, Any]
    policy: int | str | None = None


class CallMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A transaction that a trigger asked for, should it have reverted."""

    row: RowT
    call: Call
    result: dict[str, Any]
    policy: int | str | None = None


class Matcher(Generic[RowT]):
    """`row_of` gives the row of a slot, or None when it is gone; `refuse` hears of rows that cannot be read."""

    def __init__(
        self, index: TriggerIndex, row_of: Callable[[int], RowT | None], refuse: Callable[[int, BadInput], None]
    ) -> None:
        self._index = index
        self._row_of = row_of
        self._refuse = refuse
        self._ready: dict[int, tuple[RowT, Watch | None]] = {}

    def put(self, slot: int, row: RowT) -> None:
        """Add or replace a trigger that has no pattern; raises BadInput for a payload that cannot be read."""
        self._index.put_patterns(packed(slot, watch_pattern(parse_watch(row.type, row.payload))))

    def _held(self, slot: int) -> tuple[RowT, Watch] | None:
        try:
            row = self._row_of(slot)
            if row is None:
                return None
            known = self._ready.get(slot)
            if known is None or known[0] is not row:
                known = (row, None)
                self._keep(slot, known)  # until it is read: a row that cannot be is tried once
                known = (
                    row,
                    decode_watch(row.type, row.pattern) if row.pattern else parse_watch(row.type, row.payload),
                )
                self._keep(slot, known)
        except BadInput as error:
            self._refuse(slot, error)
            return None
        return None if known[1] is None else (known[0], known[1])

    def _keep(self, slot: int, known: tuple[RowT, Watch | None]) -> None:
        if slot not in self._ready and len(self._ready) >= READY_WATCHES:
            self._ready.pop(next(iter(self._ready)))
        self._ready[slot] = known

    def watches_logs(self, chain_id: int) -> bool:
        """Whether any trigger listens to logs of a chain."""
        return self._index.has_chain(chain_id)

    def watches_transfers(self, chain_id: int) -> bool:
        """Whether any trigger listens to native transfers of a chain."""
        return any(self._index.has_keys(chain_id, kind) for kind in (KeyKind.NATIVE_TO, KeyKind.NATIVE_FROM))

    def watches_reverts(self, chain_id: int) -> bool:
        """Whether any trigger listens to reverted transactions of a chain."""
        return any(self._index.has_keys(chain_id, kind) for kind in (KeyKind.REVERTED_TO, KeyKind.REVERTED_FROM))

    def watches(self, chain_id: int) -> bool:
        """Whether any trigger listens to a chain."""
        of_blocks = self.watches_transfers(chain_id) or self.watches_reverts(chain_id)
        return of_blocks or self.watches_logs(chain_id) or self._index.has_keys(chain_id, KeyKind.BLOCK)

    def filter(self, chain_id: int) -> dict[str, Any]:
        """Return the address and topics members of a merged eth_getLogs filter."""
        addresses, topics = self._index.log_filter(chain_id)
        found: dict[str, Any] = {}
        if addresses is not None:
            found["address"] = ["0x" + address.hex() for address in addresses]
        asked = [one if one is None else ["0x" + topic.hex() for topic in one] for one in topics]
        while asked and asked[-1] is None:
            asked.pop()
        if asked:
            found["topics"] = asked
        return found

    def match_logs(self, chain_id: int, body: bytes) -> tuple[int, list[LogMatch[RowT]]]:
        """Match the bytes of an eth_getLogs answer; returns how many logs there were, and the matches in order."""
        count, hits = self._index.match_logs_json(chain_id, body)
        found: list[LogMatch[RowT]] = []
        logs: dict[int, LogEvent] = {}
        for slot, start, end in hits:
            held = self._held(slot)
            if held is None:
                continue
            log = logs.get(start)
            if log is None:
                log = logs[start] = msgspec.json.decode(body[start:end], type=LogEvent)
            row, watch = held
            result = log_result(watch, log)
            if result is not None:
                found.append(LogMatch(row, watch, log, result))
        return count, found

    def match_transfers(self, chain_id: int, transfers: Sequence[Transfer]) -> list[NativeMatch[RowT]]:
        """Match native transfers of a chain, in order."""
        found: list[tuple[int, NativeMatch[RowT]]] = []
        for kind, side in ((KeyKind.NATIVE_TO, "to"), (KeyKind.NATIVE_FROM, "sender")):
            keys = [native_key(chain_id, bytes.fromhex(getattr(one, side)[2:])) for one in transfers]
            for number, slot in self._index.match_keys(kind, keys):
                held, one = self._held(slot), transfers[number]
                if held is None:
                    continue
                place = {**one.place, "transactionHash": one.hash, "txHash": one.hash}
                result = native_result(held[1], sender=one.sender, to=one.to, value=one.value, place=place)
                if result is not None:
                    found.append((number, NativeMatch(held[0], one, result, held[1].policy)))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def match_calls(self, chain_id: int, calls: Sequence[Call]) -> list[CallMatch[RowT]]:
        """Match transactions of a chain with who wants them when they revert, in order."""
        found: list[tuple[int, CallMatch[RowT]]] = []
        for kind, side in ((KeyKind.REVERTED_TO, "to"), (KeyKind.REVERTED_FROM, "sender")):
            keys = [native_key(chain_id, bytes.fromhex((getattr(one, side) or "0x")[2:])) for one in calls]
            for number, slot in self._index.match_keys(kind, keys):
                held, one = self._held(slot), calls[number]
                result = None if held is None else revert_result(held[1], one)
                if held is not None and result is not None:
                    found.append((number, CallMatch(held[0], one, result, held[1].policy)))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]

    def match_block(self, chain_id: int, number: int) -> list[tuple[RowT, int | str | None]]:
        """Return whose turn it is at a block, each with its policy."""
        keys = [block_key(chain_id, step) for step in self._index.steps(chain_id) if number % step == 0]
        held = [self._held(slot) for _, slot in self._index.match_keys(KeyKind.BLOCK, keys)]
        return [(one[0], one[1].policy) for one in held if one is not None]
