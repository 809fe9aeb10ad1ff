"""Keccak, checksummed addresses (EIP-55), and event and function signatures, as text or from a JSON ABI."""

import re
from functools import lru_cache
from typing import Any

import msgspec
from Crypto.Hash import keccak as _keccak

from b3os.abi.types import AbiType, parse_type, split_list, split_name
from b3os.errors import BadInput

_SIGNATURE = re.compile(r"^\s*(?:(event|function)\s+)?([A-Za-z_$][\w$]*)\s*\((.*)$", re.ASCII | re.DOTALL)
_ADDRESS = re.compile(r"^0x[0-9a-fA-F]{40}$", re.ASCII)


def keccak(data: bytes) -> bytes:
    """Keccak-256 as Ethereum uses it (not SHA3-256)."""
    digest: bytes = _keccak.new(digest_bits=256, data=data).digest()
    return digest


#: Addresses come again and again: a Keccak of each would be half of what a matched transfer costs.
@lru_cache(maxsize=65_536)
def checksum(address: bytes) -> str:
    """Write 20 bytes as 0x and hexadecimal digits whose case is the checksum of EIP-55."""
    text = address.hex()
    mask = keccak(text.encode()).hex()
    return "0x" + "".join(
        letter.upper() if int(bit, 16) >= 8 else letter for letter, bit in zip(text, mask, strict=False)
    )


def parse_address(text: Any, what: str = "address") -> bytes:
    """Read an address; mixed case must have a right EIP-55 checksum. Raises BadInput naming `what`."""
    if not isinstance(text, str) or not _ADDRESS.match(text):
        raise BadInput(f"{what} is no address: write 0x and 40 hexadecimal digits", code=400335)
    found = bytes.fromhex(text[2:])
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and checksum(found) != text:
        raise BadInput(f"{what}: the checksum of {text} is wrong; was a digit mistyped?", code=400335)
    return found


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a signature."""

    type: AbiType
    name: str = ""
    indexed: bool = False


class Signature(msgspec.Struct, frozen=True):
    """An event or a function: its name, parameters and, for a function, what it returns."""

    name: str
    inputs: tuple[Parameter, ...] = ()
    outputs: tuple[AbiType, ...] = ()
    anonymous: bool = False
    #: Empty texts where outputs have no names.
    output_names: tuple[str, ...] = ()

    @property
    def canonical(self) -> str:
        """The text that is hashed, such as `transfer(address,uint256)`."""
        return f"{self.name}({','.join(parameter.type.canonical for parameter in self.inputs)})"

    @property
    def topic(self) -> bytes:
        """Topic 0 of the event."""
        return keccak(self.canonical.encode())

    @property
    def selector(self) -> bytes:
        """The four bytes that begin a call of the function."""
        return self.topic[:4]


def parse_signature(text: str) -> Signature:
    """Read `Transfer(address indexed from, address to, uint256)` or `function f(uint8) view returns (bool)`."""
    match = _SIGNATURE.match(text) if isinstance(text, str) and len(text) <= 4096 else None
    if match is None:
        raise BadInput(f"{str(text)[:80]!r} is no signature: write Name(type name, …)", code=400332)
    inside, rest = _until_close(match[3], text)
    inputs = tuple(_parameter(part) for part in split_list(inside))
    outputs: tuple[Parameter, ...] = ()
    returns = re.search(r"\breturns\s*\((.*)$", rest, re.DOTALL)
    if returns:
        listed, _ = _until_close(returns[1], text)
        outputs = tuple(_parameter(part) for part in split_list(listed))
    return _signature(match[2], inputs, outputs, is_anonymous="anonymous" in rest.split())


def _signature(
    name: str, inputs: tuple[Parameter, ...], outputs: tuple[Parameter, ...], *, is_anonymous: bool
) -> Signature:
    types, names = tuple(one.type for one in outputs), tuple(one.name for one in outputs)
    return Signature(name, inputs, types, is_anonymous, names)


def _until_close(text: str, whole: str) -> tuple[str, str]:
    depth = 1
    for index, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if not depth:
            return text[:index], text[index + 1 :]
    raise BadInput(f"{whole[:80]!r}: a bracket is never closed", code=400332)


def _parameter(text: str) -> Parameter:
    indexed = re.search(r"\sindexed\b", text) is not None
    kind, name = split_name(re.sub(r"\sindexed\b", " ", text) if indexed else text)
    return Parameter(parse_type(kind), name, indexed)


def signature_from_abi(abi: Any, kind: str, name: str) -> Signature:
    """Find an event or function (`kind`) by name or full signature in a JSON ABI; raises BadInput."""
    if isinstance(abi, str):
        try:
            abi = msgspec.json.decode(abi)
        except msgspec.DecodeError as error:
            raise BadInput("`abi` is no JSON ABI: paste the compiler's list of objects", code=400332) from error
    entries = [entry for entry in abi if isinstance(entry, dict)] if isinstance(abi, list) else []
    found = [_from_entry(entry) for entry in entries if entry.get("type", "function") == kind]
    chosen = [one for one in found if name in (one.name, one.canonical)]
    if len(chosen) == 1:
        return chosen[0]
    known = ", ".join(one.canonical for one in found[:10]) or "none"
    problem = "is overloaded: name it in full" if chosen else "is not there"
    raise BadInput(f"{kind} {name!r} {problem}; the ABI has: {known}", code=400332)


def _from_entry(entry: dict[str, Any]) -> Signature:
    inputs = tuple(
        Parameter(_entry_type(part), str(part.get("name", "")), bool(part.get("indexed")))
        for part in entry.get("inputs") or ()
    )
    outputs = tuple(Parameter(_entry_type(part), str(part.get("name", ""))) for part in entry.get("outputs") or ())
    return _signature(str(entry.get("name", "")), inputs, outputs, is_anonymous=bool(entry.get("anonymous")))


def _entry_type(part: Any, depth: int = 0) -> AbiType:
    text = part.get("type") if isinstance(part, dict) else None
    if not isinstance(text, str) or depth > 16:
        raise BadInput("`abi` has a parameter without a type", code=400332)
    if not text.startswith("tuple"):
        return parse_type(text)
    members = part.get("components") or ()
    kind = AbiType(
        "tuple",
        None,
        tuple(_entry_type(member, depth + 1) for member in members),
        tuple(str(member.get("name", "")) for member in members),
    )
    for size in re.findall(r"\[(\d*)\]", text[5:]):
        kind = AbiType("array", int(size) if size else None, (kind,))
    return kind
