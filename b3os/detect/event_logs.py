"""Logs as nodes send them, and their arguments by name. Pure."""

from typing import Any

import msgspec

from b3os.abi.codec import decode, decode_word
from b3os.abi.signature import Parameter, Signature
from b3os.errors import BadInput


class LogEvent(msgspec.Struct, frozen=True, rename="camel"):
    """A log as a node sends it."""

    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    log_index: str
    transaction_index: str = "0x0"
    removed: bool = False


def argument_names(event: Signature) -> list[str]:
    """Return the arguments' names in order; one without a name is called by its place."""
    return [parameter.name or f"arg{index}" for index, parameter in enumerate(event.inputs)]


def is_hashed(parameter: Parameter) -> bool:
    """Say whether a log holds only the hash of an indexed argument."""
    return parameter.indexed and (parameter.type.is_dynamic or parameter.type.kind in ("tuple", "array"))


def decode_event(event: Signature, log: LogEvent) -> dict[str, Any] | None:
    """Return the arguments of a log by name, or None when the log is another event with the same topic 0.

    An indexed argument of a dynamic type is its hash: that is all a log holds of it.
    """
    indexed = [parameter for parameter in event.inputs if parameter.indexed]
    skip = 0 if event.anonymous else 1
    if len(log.topics) - skip != len(indexed):
        return _decode_by_place(event, log, skip)
    return _decoded(event, log, indexed, skip)


def _decode_by_place(event: Signature, log: LogEvent, skip: int) -> dict[str, Any] | None:
    """A signature without `indexed` still fits when the log's topics can only be its first arguments."""
    count = len(log.topics) - skip
    if any(parameter.indexed for parameter in event.inputs) or not 0 <= count <= len(event.inputs):
        return None
    guessed = [Parameter(p.type, p.name, index < count) for index, p in enumerate(event.inputs)]
    return _decoded(Signature(event.name, tuple(guessed)), log, guessed[:count], skip)


def _decoded(event: Signature, log: LogEvent, indexed: list[Parameter], skip: int) -> dict[str, Any] | None:
    plain = [parameter for parameter in event.inputs if not parameter.indexed]
    try:
        values = iter(decode([parameter.type for parameter in plain], bytes.fromhex(log.data[2:])))
        words = iter([bytes.fromhex(topic[2:]) for topic in log.topics[skip:]])
    except (BadInput, ValueError):
        return None
    known = {id(parameter) for parameter in indexed}
    found: dict[str, Any] = {}
    names = argument_names(event)
    for index, parameter in enumerate(event.inputs):
        found[names[index]] = _topic(parameter, next(words)) if id(parameter) in known else next(values)
    return found


def _topic(parameter: Parameter, word: bytes) -> Any:
    if is_hashed(parameter):
        return "0x" + word.hex()
    return decode_word(parameter.type, word)
