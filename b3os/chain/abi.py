"""Contract calls: a signature and JSON arguments to call data, and a node's answer back to JSON values."""

from collections.abc import Sequence
from typing import Any

from b3os.abi.codec import decode, encode
from b3os.abi.signature import Signature, parse_signature
from b3os.abi.types import parse_type


def encode_call(signature: str | Signature, args: Sequence[Any]) -> bytes:
    """Make the call data of a function such as `transfer(address,uint256)`; raises BadInput."""
    found = parse_signature(signature) if isinstance(signature, str) else signature
    return found.selector + encode([parameter.type for parameter in found.inputs], args)


def decode_result(types: Sequence[str], data: bytes) -> list[Any]:
    """Decode what a function returned, types such as `uint256`; raises BadInput."""
    return decode([parse_type(name) for name in types], data)


def decode_text(data: bytes) -> str | None:
    """Decode name() or symbol(): a string, or the bytes32 of old tokens; None when it is neither."""
    if len(data) == 32:
        return data.rstrip(b"\0").decode("utf-8", "replace")
    if len(data) >= 64:
        found = decode_result(["string"], data)[0]
        return str(found).replace("\0", "")
    return None
