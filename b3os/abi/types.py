"""ABI types as parsed trees. Grammar: Solidity's contract ABI specification, "Types"."""

import re

import msgspec

from b3os.errors import BadInput

#: Nesting of tuples and arrays that is accepted.
MAX_DEPTH = 16

_ATOM = re.compile(r"^(address|bool|string|function|bytes|u?int|bytes(\d+)|u?int(\d+))$", re.ASCII)
_ARRAY = re.compile(r"^(.*)\[(\d*)\]$", re.ASCII | re.DOTALL)


class AbiType(msgspec.Struct, frozen=True):
    """One type: `kind` is uint, int, address, bool, bytesN, bytes, string, tuple or array.

    `size` is bits of integers, bytes of bytesN, items of a fixed array (None: dynamic); `items` are the members of a
    tuple or the one item type of an array; `names` are the members' names, empty where none was given.
    """

    kind: str
    size: int | None = None
    items: tuple["AbiType", ...] = ()
    names: tuple[str, ...] = ()

    @property
    def is_dynamic(self) -> bool:
        """Whether the encoding is behind an offset."""
        if self.kind in ("bytes", "string"):
            return True
        if self.kind == "array":
            return self.size is None or self.items[0].is_dynamic
        return self.kind == "tuple" and any(item.is_dynamic for item in self.items)

    @property
    def head_bytes(self) -> int:
        """Bytes that a value takes in the head of its enclosing tuple."""
        if self.is_dynamic:
            return 32
        if self.kind == "array":
            return (self.size or 0) * self.items[0].head_bytes
        if self.kind == "tuple":
            return sum(item.head_bytes for item in self.items)
        return 32

    @property
    def canonical(self) -> str:
        """The name that goes into a signature, such as `(uint256,address)[2]`."""
        if self.kind == "tuple":
            return f"({','.join(item.canonical for item in self.items)})"
        if self.kind == "array":
            return f"{self.items[0].canonical}[{'' if self.size is None else self.size}]"
        if self.kind in ("uint", "int"):
            return f"{self.kind}{self.size}"
        return f"bytes{self.size}" if self.kind == "bytesN" else self.kind


def parse_type(text: str, depth: int = 0) -> AbiType:
    """Read a type such as `uint256`, `(address,bytes)[]`, `bytes32[4]`; raises BadInput for anything else."""
    text = text.strip()
    if depth > MAX_DEPTH:
        raise BadInput(f"an ABI type nests deeper than {MAX_DEPTH}", code=400332)
    array = _ARRAY.match(text)
    if array:
        size = int(array[2]) if array[2] else None
        if size is not None and not 0 < size <= 10_000:
            raise BadInput(f"{text!r} is no ABI type: a fixed array has 1 to 10000 items", code=400332)
        return AbiType("array", size, (parse_type(array[1], depth + 1),))
    body = text.removeprefix("tuple")
    if body.startswith("(") and body.endswith(")"):
        parts = [split_name(part) for part in split_list(body[1:-1])]
        members = tuple(parse_type(kind, depth + 1) for kind, _ in parts)
        return AbiType("tuple", None, members, tuple(name for _, name in parts))
    return _atom(text)


def _atom(text: str) -> AbiType:
    match = _ATOM.match(text)
    if match is None:
        raise BadInput(f"{text!r} is no ABI type: write uint256, address, bytes32, string, (…) or …[]", code=400332)
    if match[2]:
        size = int(match[2])
        if not 1 <= size <= 32:
            raise BadInput(f"{text!r} is no ABI type: bytes1 to bytes32", code=400332)
        return AbiType("bytesN", size)
    if text.startswith(("uint", "int")):
        size = int(match[3] or 256)
        if size % 8 or not 8 <= size <= 256:
            raise BadInput(f"{text!r} is no ABI type: bits are 8 to 256 in steps of 8", code=400332)
        return AbiType("uint" if text.startswith("u") else "int", size)
    return AbiType("bytesN", 24) if text == "function" else AbiType(text)


def split_list(text: str) -> list[str]:
    """Split at the commas outside brackets; an empty text has no parts."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        if letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
            if depth < 0:
                raise BadInput(f"{text!r}: a bracket closes that was never opened", code=400332)
        elif letter == "," and not depth:
            parts.append(text[start:index])
            start = index + 1
    if depth:
        raise BadInput(f"{text!r}: a bracket is never closed", code=400332)
    parts.append(text[start:])
    return parts if text.strip() else []


def split_name(text: str) -> tuple[str, str]:
    """Split `uint256 amount` into type and name; the name may be missing, words such as `memory` are skipped."""
    text = text.strip()
    end = text.rfind(")")
    end = end if end >= 0 else 0
    while end < len(text) and not text[end].isspace():
        end += 1
    words = [word for word in text[end:].split() if word not in ("memory", "calldata", "storage", "payable")]
    if len(words) > 1:
        raise BadInput(f"{text!r} is no parameter: write a type and at most a name", code=400332)
    return text[:end], words[0] if words else ""
