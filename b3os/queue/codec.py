"""Asynq's TaskMessage (proto3), written by hand: no dependency, byte-identical.

Source: hibiken/asynq v0.26, internal/proto/asynq.proto. Fields with their default value are left out.
"""

from collections.abc import Mapping

import msgspec

from b3os.errors import BadInput

_TEXT_FIELDS = {1: "type", 3: "id", 4: "queue", 7: "error_msg", 10: "unique_key", 14: "group_key"}
_INT_FIELDS = {5: "retry", 6: "retried", 8: "timeout", 9: "deadline", 11: "last_failed_at", 12: "retention",
               13: "completed_at"}  # fmt: skip


class TaskMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One task as Asynq stores it; times in unix seconds, durations in seconds."""

    type: str = ""
    payload: bytes = b""
    id: str = ""
    queue: str = ""
    retry: int = 0
    retried: int = 0
    error_msg: str = ""
    timeout: int = 0
    deadline: int = 0
    unique_key: str = ""
    last_failed_at: int = 0
    retention: int = 0
    completed_at: int = 0
    group_key: str = ""
    headers: Mapping[str, str] = {}


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def bytes_field(number: int, data: bytes) -> bytes:
    """Write a string, bytes or message field; nothing when it is empty."""
    return _bytes(number, data) if data else b""


def int_field(number: int, value: int) -> bytes:
    """Write an integer field; nothing when it is 0."""
    return _varint(number << 3) + _varint(value) if value else b""


def timestamp(at_ns: int) -> bytes:
    """Write a google.protobuf.Timestamp."""
    return int_field(1, at_ns // 1_000_000_000) + int_field(2, at_ns % 1_000_000_000)


def encode(message: TaskMessage) -> bytes:
    """Return the protobuf bytes."""
    out = bytearray()
    for number in range(1, 15):
        if number == 2:
            out += bytes_field(2, message.payload)
        elif number in _TEXT_FIELDS:
            out += bytes_field(number, getattr(message, _TEXT_FIELDS[number]).encode())
        else:
            out += int_field(number, getattr(message, _INT_FIELDS[number]))
    for key, value in message.headers.items():
        out += _bytes(15, _bytes(1, key.encode()) + _bytes(2, value.encode()))
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            if self.at >= len(self.data) or shift > 63:
                raise BadInput("a task message is cut short: it is not Asynq's", code=400320)
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def chunk(self) -> bytes:
        size = self.varint()
        if self.at + size > len(self.data):
            raise BadInput("a task message is cut short: it is not Asynq's", code=400320)
        self.at += size
        return self.data[self.at - size : self.at]

    def fields(self) -> "list[tuple[int, int | bytes]]":
        found: list[tuple[int, int | bytes]] = []
        while self.at < len(self.data):
            tag = self.varint()
            if tag & 7 not in (0, 2):
                raise BadInput(f"a task message has wire type {tag & 7}: it is not Asynq's", code=400320)
            found.append((tag >> 3, self.varint() if tag & 7 == 0 else self.chunk()))
        return found


def decode(data: bytes) -> TaskMessage:
    """Read the protobuf bytes, unknown fields skipped; raises BadInput on anything else."""
    values: dict[str, object] = {}
    headers: dict[str, str] = {}
    for number, value in _Reader(data).fields():
        if number in _INT_FIELDS and isinstance(value, int):
            values[_INT_FIELDS[number]] = value - (1 << 64) if value >> 63 else value
        elif isinstance(value, bytes) and number == 2:
            values["payload"] = value
        elif isinstance(value, bytes) and number in _TEXT_FIELDS:
            values[_TEXT_FIELDS[number]] = value.decode("utf-8", "replace")
        elif isinstance(value, bytes) and number == 15:
            pair = {n: v.decode("utf-8", "replace") for n, v in _Reader(value).fields() if isinstance(v, bytes)}
            headers[pair.get(1, "")] = pair.get(2, "")
    return TaskMessage(**values, headers=headers)  # type: ignore[arg-type]
