"""All chain triggers of this master over the compiled index: rows in, events in, matches out. Pure."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from b3os._speedups.trigger_index import TriggerIndex
from b3os.detect.evm import EVM_TYPES, LogEvent, Watch, log_result, native_key, native_result, parse_watch
from b3os.detect.keys import KeyKind


class Row(Protocol):
    """A trigger as the store gives it."""

    @property
    def workflow_id(self) -> str: ...
    @property
    def node_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def active(self) -> bool: ...
    @property
    def active_since_ms(self) -> int: ...


RowT = TypeVar("RowT", bound=Row)


class LogMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A log that a trigger asked for, and the result it makes."""

    row: RowT
    watch: Watch
    log: LogEvent
    result: dict[str, Any]


class Transfer(msgspec.Struct, frozen=True):
    """A native transfer: addresses and hash as 0x strings, value in wei."""

    hash: str
    sender: str
    to: str
    value: int
    place: dict[str, Any]


class NativeMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A native transfer that a trigger asked for."""

    row: RowT
    transfer: Transfer
    result: dict[str, Any]


class Matcher(Generic[RowT]):
    """Rows by slot of the index; slots are used again."""

    def __init__(self) -> None:
        self._index = TriggerIndex()
        self._rows: list[tuple[RowT, Watch] | None] = []
        self._free: list[int] = []
        self._slots: dict[tuple[str, str], int] = {}
        self._native: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, row: RowT) -> None:
        """Add, replace or remove a trigger, as its row says; raises BadInput for a payload that cannot be read."""
        key = (row.workflow_id, row.node_id)
        self._drop(key)
        if not row.active or row.type not in EVM_TYPES:
            return
        watch = parse_watch(row.type, row.payload)
        slot = self._free.pop() if self._free else len(self._rows)
        if slot == len(self._rows):
            self._rows.append(None)
        self._rows[slot] = (row, watch)
        self._slots[key] = slot
        if watch.account and watch.event is None:
            kind = KeyKind.NATIVE_TO if watch.type == "eth-receive" else KeyKind.NATIVE_FROM
            self._index.put_key(slot, kind, native_key(watch.chain_id, watch.account))
            self._native[watch.chain_id] = self._native.get(watch.chain_id, 0) + 1
            return
        for address in watch.addresses or (None,):
            self._index.put_log(slot, watch.chain_id, address, watch.topics)

    def _drop(self, key: tuple[str, str]) -> None:
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        self._index.drop(slot)
        found = self._rows[slot]
        self._rows[slot] = None
        self._free.append(slot)
        if found is not None and found[1].event is None and found[1].account:
            self._native[found[1].chain_id] -= 1

    def watches_logs(self, chain_id: int) -> bool:
        """Whether any trigger listens to logs of a chain."""
        return self._index.has_chain(chain_id)

    def watches_transfers(self, chain_id: int) -> bool:
        """Whether any trigger listens to native transfers of a chain."""
        return self._native.get(chain_id, 0) > 0

    def filter(self, chain_id: int) -> dict[str, Any]:
        """Return the address and topics members of a merged eth_getLogs filter."""
        addresses, topics = self._index.log_filter(chain_id)
        found: dict[str, Any] = {}
        if addresses is not None:
            found["address"] = ["0x" + address.hex() for address in addresses]
        if topics is not None:
            found["topics"] = [["0x" + topic.hex() for topic in topics]]
        return found

    def match_logs(self, chain_id: int, body: bytes) -> tuple[int, list[LogMatch[RowT]]]:
        """Match the bytes of an eth_getLogs answer; returns how many logs there were, and the matches in order."""
        count, hits = self._index.match_logs_json(chain_id, body)
        found: list[LogMatch[RowT]] = []
        logs: dict[int, LogEvent] = {}
        for slot, start, end in hits:
            held = self._rows[slot]
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
                held, one = self._rows[slot], transfers[number]
                if held is None:
                    continue
                place = {**one.place, "transactionHash": one.hash, "txHash": one.hash}
                result = native_result(held[1], sender=one.sender, to=one.to, value=one.value, place=place)
                if result is not None:
                    found.append((number, NativeMatch(held[0], one, result)))
        return [match for _, match in sorted(found, key=lambda pair: pair[0])]
