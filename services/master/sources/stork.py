"""The wire of the Stork oracle: messages both ways, and which prices are believed. Pure.

A price counts when one of the trusted accounts signed exactly this asset, price and time, and the publishers it lists
are the ones that the signature covers (their Merkle root). One bad asset never spoils the others of its frame.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from b3os._speedups.price_index import LIMIT
from b3os.abi.signature import keccak
from b3os.chain.signatures import Signers, personal_digest
from b3os.detect.price_matcher import PriceTick

#: The accounts that sign for the public service.
PUBLIC_SIGNERS = "0x0a803F9b1CCe32e2773e0d2e98b37E0775cA5d44"
#: A price that is older, or that far ahead of our clock, is no news.
MAX_AGE_NS = 30 * 10**9
AHEAD_NS = 10 * 10**9
#: Assets in one message; the whole service has a few hundred.
CHUNK = 1000

#: What decoding raises for hostile input.
UNREADABLE = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)

_NUMBER = re.compile(r"-?[0-9]{1,60}")


class RefusedPrice(Exception):
    """A price that is not believed. `reason` is a word for the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Signature(msgspec.Struct):
    r: str
    s: str
    v: str


class _Stamped(msgspec.Struct):
    signature: _Signature
    timestamp: int


class _Algorithm(msgspec.Struct):
    checksum: str


class _Signed(msgspec.Struct):
    public_key: str
    encoded_asset_id: str
    price: str
    timestamped_signature: _Stamped
    publisher_merkle_root: str
    calculation_alg: _Algorithm


class _Published(msgspec.Struct):
    publisher_key: str
    external_asset_id: str
    price: str
    timestamped_signature: _Stamped


class _Quote(msgspec.Struct):
    asset_id: str
    price: str
    timestamp: int
    stork_signed_price: _Signed
    signed_prices: list[_Published] = []


class Frame(msgspec.Struct):
    """A message of the server. `data` of `oracle_prices` is an object of quotes by asset."""

    type: str = ""
    error: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_frames = msgspec.json.Decoder(Frame)
_by_asset = msgspec.json.Decoder(dict[str, msgspec.Raw])


def subscription(kind: str, assets: Iterable[str]) -> list[bytes]:
    """Make the messages that subscribe to, or unsubscribe from, assets."""
    names = sorted(assets)
    return [
        msgspec.json.encode({"type": kind, "data": names[start : start + CHUNK]})
        for start in range(0, len(names), CHUNK)
    ]


def read_frame(message: bytes) -> Frame:
    """Read a message; raises RefusedPrice for what is none."""
    try:
        return _frames.decode(message)
    except UNREADABLE as error:
        raise RefusedPrice("malformed") from error


def quotes_of(frame: Frame) -> dict[str, msgspec.Raw]:
    """Return the quotes of an `oracle_prices` frame, not yet looked at."""
    try:
        return _by_asset.decode(frame.data)
    except UNREADABLE as error:
        raise RefusedPrice("malformed") from error


def read_quote(asset: str, raw: msgspec.Raw, signers: Signers, now_ns: int) -> tuple[PriceTick, dict[str, Any]]:
    """Read one quote and check all that makes it believable; returns it as plain data too. Raises RefusedPrice."""
    try:
        plain = msgspec.json.decode(raw, type=dict[str, Any])
        quote = msgspec.convert(plain, _Quote)
        signed = quote.stork_signed_price
        price = _number(signed.price)
        at_ns = signed.timestamped_signature.timestamp
        if quote.asset_id != asset or quote.price != signed.price or quote.timestamp != at_ns:
            raise RefusedPrice("mismatch")
        if not now_ns - MAX_AGE_NS <= at_ns <= now_ns + AHEAD_NS:
            raise RefusedPrice("stale")
        _check(asset, price, quote, signers)
    except UNREADABLE as error:
        raise RefusedPrice("malformed") from error
    return PriceTick(asset, price, at_ns), plain


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise RefusedPrice("malformed")
    number = int(text)
    if abs(number) > LIMIT:
        raise RefusedPrice("range")
    return number


def _check(asset: str, price: int, quote: _Quote, signers: Signers) -> None:
    signed = quote.stork_signed_price
    stamp = signed.timestamped_signature
    name, root = keccak(asset.encode()), _hex(signed.publisher_merkle_root, 32)
    if _hex(signed.encoded_asset_id, 32) != name:
        raise RefusedPrice("mismatch")
    if quote.signed_prices and _merkle_root([_leaf(one) for one in quote.signed_prices]) != root:
        raise RefusedPrice("publishers")
    address = _hex(signed.public_key, 20)
    message = keccak(
        address + name + _word(stamp.timestamp) + _word(price) + root + _hex(signed.calculation_alg.checksum, 32)
    )
    r, s, v = (int(part, 16) for part in (stamp.signature.r, stamp.signature.s, stamp.signature.v))
    if not signers.vouches(address, personal_digest(message), r, s, v - 27):
        raise RefusedPrice("signature")


def _leaf(one: _Published) -> bytes:
    """The hash that a publisher signed; publishers count in seconds."""
    return keccak(
        _hex(one.publisher_key, 20)
        + one.external_asset_id.encode()
        + _word(one.timestamped_signature.timestamp // 10**9)
        + _word(_number(one.price))
    )


def _merkle_root(level: list[bytes]) -> bytes:
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        level = [keccak(left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big", signed=True)


def _hex(text: str, size: int) -> bytes:
    found = bytes.fromhex(text.removeprefix("0x"))
    if len(found) != size:
        raise RefusedPrice("malformed")
    return found
