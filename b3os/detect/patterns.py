"""What publishing stores beside a trigger's payload, so that a master starts without reading JSON. Pure.

A pattern has what the index needs (the layout is at the head of `_speedups/pattern_reader.pxi`), followed by what makes
a watch of it: the smallest amount (length, big-endian), and the event's declaration for `evm-log`. Its first byte is a
version; a master that meets a version it does not know says so and skips the row. Version 2 is of `evm-log` triggers
with a filter: a zero byte and the JSON [policy, filter] follow the declaration, and a master that knows no filters does
not fire without. Trigger types without a pattern, and watches that a pattern cannot say (an ABI with names inside
tuples), are read from their payload.
"""

import struct
from typing import Any

import msgspec

from b3os.abi.signature import Signature, parse_signature
from b3os.detect.arguments import ArgumentFilter
from b3os.detect.evm import (
    BLOCK_TYPE,
    EVM_TYPES,
    LOG_TYPES,
    REVERT_TYPE,
    TRANSFER,
    Topics,
    Watch,
    parse_watch,
    watch_key,
)
from b3os.detect.keys import KeyKind
from b3os.errors import BadInput

PLAIN, FILTERED = 1, 2
LOG, KEY = 1, 2
ANY = 255
_more = msgspec.json.Decoder(tuple[int | str | None, msgspec.Raw])


def compile_pattern(kind: str, payload: dict[str, Any]) -> bytes:
    """Return the pattern of a trigger; empty when its payload is needed. Raises BadInput as parse_watch does."""
    if kind not in EVM_TYPES:
        return b""
    watch = parse_watch(kind, payload)
    pattern = watch_pattern(watch)
    try:
        return pattern if decode_watch(kind, pattern) == watch else b""
    except BadInput:
        return b""


def packed(slot: int, pattern: bytes) -> bytes:
    """Write a pattern as TriggerIndex.put_patterns takes it."""
    return struct.pack("<II", slot, len(pattern)) + pattern


def watch_pattern(watch: Watch) -> bytes:
    """Write a watch as a pattern; the index part is whole, the declaration of an odd event may not be."""
    least = watch.min_amount.to_bytes((watch.min_amount.bit_length() + 7) // 8, "big")
    rest = bytes([len(least)]) + least
    if watch.type not in LOG_TYPES:
        side, key = watch_key(watch)
        return bytes([PLAIN, KEY, side, len(key)]) + key + rest
    if watch.type == "evm-log" and watch.event is not None:
        rest += _declaration(watch.event).encode()
    if watch.filter is not None:
        rest += b"\0" + msgspec.json.encode([watch.policy, msgspec.Raw(watch.filter.text)])
    version = PLAIN if watch.filter is None else FILTERED
    topics = b"".join(map(_topic, watch.topics))
    head = struct.pack("<BBQB", version, LOG, watch.chain_id, len(watch.topics)) + topics
    return head + struct.pack("<H", len(watch.addresses)) + b"".join(watch.addresses) + rest


def _topic(topic: bytes | None) -> bytes:
    if topic is None:
        return bytes([ANY])
    short = topic.lstrip(b"\0")
    return bytes([len(short)]) + short


def _declaration(event: Signature) -> str:
    inputs = (f"{p.type.canonical}{' indexed' if p.indexed else ''} {p.name}".rstrip() for p in event.inputs)
    return f"event {event.name}({', '.join(inputs)}){' anonymous' if event.anonymous else ''}"


def decode_watch(kind: str, pattern: bytes) -> Watch:
    """Read a pattern back; raises BadInput when it is not one of this version."""
    try:
        if pattern[0] not in (PLAIN, FILTERED):
            raise BadInput(
                f"the pattern has version {pattern[0]}, this master reads up to {FILTERED}: publish again", code=400380
            )
        return _decode_key(kind, pattern) if pattern[1] == KEY else _decode_log(kind, pattern)
    except (IndexError, struct.error, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise BadInput("the stored pattern is damaged: publish the workflow again", code=400380) from error


def _decode_key(kind: str, pattern: bytes) -> Watch:
    key = pattern[4 : 4 + pattern[3]]
    least, _ = _amount(pattern, 4 + len(key))
    chain_id, rest = int.from_bytes(key[:8], "big"), key[8:]
    found = Watch(type=kind, chain_id=chain_id, account=rest, min_amount=least)
    if kind == BLOCK_TYPE:
        found = Watch(type=kind, chain_id=chain_id, every=int.from_bytes(rest, "big"))
    elif kind == REVERT_TYPE:
        ends = ((rest,), b"") if pattern[2] == KeyKind.REVERTED_TO else ((), rest)
        found = Watch(type=kind, chain_id=chain_id, addresses=ends[0], account=ends[1])
    if kind in LOG_TYPES or len(key) != (16 if kind == BLOCK_TYPE else 28) or watch_key(found) != (pattern[2], key):
        raise BadInput(f"the stored pattern is not that of {kind}: publish the workflow again", code=400380)
    return found


def _decode_log(kind: str, pattern: bytes) -> Watch:
    _, form, chain_id, count = struct.unpack_from("<BBQB", pattern)
    if form != LOG or kind not in LOG_TYPES:
        raise BadInput(f"the stored pattern is not that of {kind}: publish the workflow again", code=400380)
    at = 11
    found: list[bytes | None] = []
    for _ in range(count):
        size = pattern[at]
        found.append(None if size == ANY else pattern[at + 1 : at + 1 + size].rjust(32, b"\0"))
        at += 1 if size == ANY else 1 + size
    (number,) = struct.unpack_from("<H", pattern, at)
    at += 2
    addresses = tuple(pattern[at + 20 * n : at + 20 * (n + 1)] for n in range(number))
    least, at = _amount(pattern, at + 20 * number)
    topics: Topics = tuple(found)
    if kind == "evm-log":
        text, _, more = pattern[at:].partition(b"\0") if pattern[0] == FILTERED else (pattern[at:], b"", b"")
        policy, wanted = _more.decode(more) if more else (None, None)
        return Watch(
            type=kind,
            chain_id=chain_id,
            addresses=addresses,
            topics=topics,
            event=parse_signature(text.decode()) if text else None,
            min_amount=least,
            policy=policy,
            filter=None if wanted is None else ArgumentFilter(bytes(wanted)),
        )
    side = next((topic for topic in topics[1:] if topic is not None), None)
    return Watch(
        type=kind,
        chain_id=chain_id,
        addresses=addresses,
        topics=topics,
        event=TRANSFER,
        account=side[12:] if side is not None else b"",
        min_amount=least,
    )


def _amount(pattern: bytes, at: int) -> tuple[int, int]:
    size = pattern[at]
    return int.from_bytes(pattern[at + 1 : at + 1 + size], "big"), at + 1 + size
