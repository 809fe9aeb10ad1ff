"""Signatures of Ethereum accounts: who signed a digest, and the check that a known signer did.

An address is only the hash of a public key, so the key is recovered from the first signature that is seen of an address
(20 ms, in Python) and kept; every check after it is OpenSSL's (0.4 ms). coincurve recovers in 0.05 ms, but has no wheel
for every Python that we run on; eth-keys costs 28 MB and 0.8 s at import, and is the oracle of the tests.
"""

from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from b3os.abi.signature import keccak

Point = tuple[int, int] | None

#: secp256k1: y**2 = x**3 + 7 modulo P, with N points that G generates.
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G: Point = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
_DIGEST = ec.ECDSA(utils.Prehashed(hashes.SHA256()))  # any 32 bytes; no hash is taken


def personal_digest(message: bytes) -> bytes:
    """Return what an account signs for 32 bytes of message (EIP-191, version 0x45)."""
    return keccak(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)


def recover(digest: bytes, r: int, s: int, parity: int) -> bytes | None:
    """Return the public key (64 bytes) that signed a digest; None when no key can have. Not constant in time."""
    if not (0 < r < N and 0 < s < N and parity in (0, 1)):
        return None
    square = (pow(r, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        return None
    inverse = pow(r, -1, N)
    point = (r, y if y % 2 == parity else P - y)
    zero = -int.from_bytes(digest, "big") * inverse % N
    key = _add(_times(point, s * inverse % N), _times(G, zero))
    return None if key is None else key[0].to_bytes(32, "big") + key[1].to_bytes(32, "big")


def address_of(public_key: bytes) -> bytes:
    """Return the address of a public key of 64 bytes."""
    return keccak(public_key)[12:]


def _add(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return other if one is None else one
    if one[0] == other[0]:
        if (one[1] + other[1]) % P == 0:
            return None
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, P) % P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, P) % P
    x = (slope * slope - one[0] - other[0]) % P
    return x, (slope * (one[0] - x) - one[1]) % P


def _times(point: Point, factor: int) -> Point:
    found: Point = None
    while factor:
        if factor & 1:
            found = _add(found, point)
        point = _add(point, point)
        factor >>= 1
    return found


class Signers:
    """The accounts whose signatures are believed."""

    def __init__(self, trusted: Iterable[bytes]) -> None:
        self._trusted = frozenset(trusted)
        self._keys: dict[bytes, ec.EllipticCurvePublicKey] = {}

    def vouches(self, address: bytes, digest: bytes, r: int, s: int, parity: int) -> bool:
        """Say whether a trusted account signed a digest."""
        if address not in self._trusted or parity not in (0, 1):
            return False
        key = self._keys.get(address)
        if key is None:
            found = recover(digest, r, s, parity)
            if found is None or address_of(found) != address:
                return False
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), b"\x04" + found)
            self._keys[address] = key
        try:
            key.verify(utils.encode_dss_signature(r, s), digest, _DIGEST)
        except (InvalidSignature, ValueError):
            return False
        return True
