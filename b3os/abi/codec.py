"""ABI values to bytes and back. Source: Solidity's contract ABI specification, "Formal Specification of the Encoding".

Values on the wire of B3OS are JSON: integers are decimal strings on the way out (they pass 2^53), int or decimal or
0x strings on the way in; addresses and bytes are 0x strings, addresses with their EIP-55 checksum on the way out.
"""

from collections.abc import Sequence
from typing import Any

from b3os.abi.signature import checksum
from b3os.abi.types import AbiType
from b3os.errors import BadInput

#: Values that one decoding may make: a hostile contract cannot ask for more.
MAX_VALUES = 100_000


def encode(types: Sequence[AbiType], values: Sequence[Any]) -> bytes:
    """Encode values as a tuple of these types; raises BadInput that names the value."""
    if len(types) != len(values):
        raise BadInput(f"{len(types)} arguments are needed, {len(values)} are given", code=400333)
    heads: list[bytes | None] = []
    tails: list[bytes] = []
    for kind, value in zip(types, values, strict=True):
        body = _encode(kind, value)
        heads.append(None if kind.is_dynamic else body)
        tails.append(body if kind.is_dynamic else b"")
    offset = sum(kind.head_bytes for kind in types)
    out = bytearray()
    for head, tail in zip(heads, tails, strict=True):
        if head is None:
            out += offset.to_bytes(32, "big")
            offset += len(tail)
        else:
            out += head
    return bytes(out) + b"".join(tails)


def _encode(kind: AbiType, value: Any) -> bytes:
    match kind.kind:
        case "uint" | "int":
            return _integer(kind, value)
        case "bool":
            if not isinstance(value, bool):
                raise _wrong(kind, value, "true or false")
            return int(value).to_bytes(32, "big")
        case "address":
            return _raw(kind, value, 20).rjust(32, b"\0")
        case "bytesN":
            return _raw(kind, value, kind.size or 0).ljust(32, b"\0")
        case "bytes":
            return _counted(_raw(kind, value, None))
        case "string":
            if not isinstance(value, str):
                raise _wrong(kind, value, "text")
            return _counted(value.encode())
        case "tuple":
            return encode(kind.items, _members(kind, value))
    return _array(kind, value)


def _array(kind: AbiType, value: Any) -> bytes:
    if not isinstance(value, list | tuple) or (kind.size is not None and len(value) != kind.size):
        raise _wrong(kind, value, "a list" if kind.size is None else f"a list of {kind.size}")
    body = encode(kind.items * len(value), value)
    return body if kind.size is not None else len(value).to_bytes(32, "big") + body


def _members(kind: AbiType, value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        missing = [name for name in kind.names if name not in value]
        if missing or not all(kind.names):
            raise _wrong(kind, value, f"an object with {', '.join(kind.names) or 'named members'}")
        return [value[name] for name in kind.names]
    if not isinstance(value, list | tuple):
        raise _wrong(kind, value, "a list or an object")
    return value


def _integer(kind: AbiType, value: Any) -> bytes:
    bits = kind.size or 256
    number: int
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and len(value) <= 80:
        try:
            number = int(value, 16 if value.lower().startswith("0x") else 10)
        except ValueError:
            raise _wrong(kind, value, "an integer") from None
    else:
        raise _wrong(kind, value, "an integer")
    low, high = (0, 1 << bits) if kind.kind == "uint" else (-(1 << (bits - 1)), 1 << (bits - 1))
    if not low <= number < high:
        raise _wrong(kind, value, f"between {low} and {high - 1}")
    return (number % (1 << 256)).to_bytes(32, "big")


def _raw(kind: AbiType, value: Any, size: int | None) -> bytes:
    if isinstance(value, bytes):
        found = value
    elif isinstance(value, str) and value[:2].lower() == "0x":
        try:
            found = bytes.fromhex(value[2:])
        except ValueError:
            raise _wrong(kind, value, "0x and hexadecimal digits") from None
    else:
        raise _wrong(kind, value, "0x and hexadecimal digits")
    if size is not None and len(found) != size:
        raise _wrong(kind, value, f"{size} bytes")
    return found


def _counted(data: bytes) -> bytes:
    return len(data).to_bytes(32, "big") + data + b"\0" * (-len(data) % 32)


def _wrong(kind: AbiType, value: Any, wanted: str) -> BadInput:
    return BadInput(f"{str(value)[:80]!r} is no {kind.canonical}: it must be {wanted}", code=400333)


class _Reader:
    """The bytes of one decoding, and how many values it may still make."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = MAX_VALUES

    def take(self, at: int, size: int) -> bytes:
        found = self.data[at : at + size]
        if at < 0 or len(found) != size:
            raise BadInput("the ABI data is shorter than its types: is the signature right?", code=400334)
        return found

    def number(self, at: int) -> int:
        return int.from_bytes(self.take(at, 32), "big")

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise BadInput(f"the ABI data has more than {MAX_VALUES} values", code=400334)


def decode(types: Sequence[AbiType], data: bytes) -> list[Any]:
    """Decode a tuple of these types; raises BadInput when the data is too short or points outside itself."""
    return _decode_tuple(_Reader(data), types, 0)


def _decode_tuple(reader: _Reader, types: Sequence[AbiType], base: int) -> list[Any]:
    reader.spend(len(types))
    values, at = [], base
    for kind in types:
        where = base + reader.number(at) if kind.is_dynamic else at
        values.append(_decode(reader, kind, where))
        at += kind.head_bytes
    return values


def _decode(reader: _Reader, kind: AbiType, at: int) -> Any:
    match kind.kind:
        case "tuple":
            values = _decode_tuple(reader, kind.items, at)
            return dict(zip(kind.names, values, strict=True)) if kind.names and all(kind.names) else values
        case "array":
            size = reader.number(at) if kind.size is None else kind.size
            reader.spend(size)
            return _decode_tuple(reader, kind.items * size, at if kind.size is not None else at + 32)
        case "bytes" | "string":
            body = reader.take(at + 32, reader.number(at))
            return "0x" + body.hex() if kind.kind == "bytes" else body.decode("utf-8", "replace")
    return decode_word(kind, reader.take(at, 32))


def decode_word(kind: AbiType, word: bytes) -> Any:
    """Decode a value that fits 32 bytes; an indexed dynamic argument is its hash and stays bytes."""
    match kind.kind:
        case "uint":
            return str(int.from_bytes(word, "big"))
        case "int":
            return str(int.from_bytes(word, "big", signed=True))
        case "bool":
            return any(word)
        case "address":
            return checksum(word[12:])
        case "bytesN":
            return "0x" + word[: kind.size].hex()
    return "0x" + word.hex()
