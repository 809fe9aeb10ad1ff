"""Recovering and checking signatures; eth-keys is the oracle."""

import pytest
from eth_account.messages import encode_defunct
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from b3os.abi.signature import keccak
from b3os.chain.signatures import N, Signers, address_of, personal_digest, recover
from tests.examples import examples

SECRETS = st.integers(1, N - 1).map(lambda number: number.to_bytes(32, "big"))
DIGESTS = st.binary(min_size=32, max_size=32)


@settings(max_examples=examples(15))
@given(SECRETS, DIGESTS)
def test_the_signer_is_recovered(secret: bytes, digest: bytes) -> None:
    key = keys.PrivateKey(secret)
    made = key.sign_msg_hash(digest)
    public = recover(digest, made.r, made.s, made.v)
    assert public == key.public_key.to_bytes()
    address = address_of(public)
    assert address == key.public_key.to_canonical_address()
    signers = Signers([address])
    for _ in range(2):  # the first check recovers the key, the next ones know it
        assert signers.vouches(address, digest, made.r, made.s, made.v)
        assert not signers.vouches(address, digest, made.r, (made.s + 1) % N, made.v)
        assert not signers.vouches(address, keccak(digest), made.r, made.s, made.v)


@pytest.mark.parametrize(
    ("r", "s", "parity"), [(0, 1, 0), (1, 0, 0), (N, 1, 0), (1, N, 0), (1, 1, 2), (1, 1, -1), (5, 1, 0), (2**300, 1, 0)]
)
def test_what_no_key_can_have_signed_is_nobodys(r: int, s: int, parity: int) -> None:
    assert recover(b"\1" * 32, r, s, parity) is None
    assert not Signers([bytes(20)]).vouches(bytes(20), b"\1" * 32, r, s, parity)


def test_a_known_signer_is_not_confused_by_numbers_out_of_range() -> None:
    key = keys.PrivateKey(b"\7" * 32)
    made = key.sign_msg_hash(b"\1" * 32)
    signers = Signers([key.public_key.to_canonical_address()])
    assert signers.vouches(key.public_key.to_canonical_address(), b"\1" * 32, made.r, made.s, made.v)
    for r, s in ((0, made.s), (made.r, 0), (2**600, made.s), (-1, made.s)):
        assert not signers.vouches(key.public_key.to_canonical_address(), b"\1" * 32, r, s, made.v)


def test_a_stranger_is_not_believed() -> None:
    key = keys.PrivateKey(b"\7" * 32)
    made = key.sign_msg_hash(b"\1" * 32)
    stranger = key.public_key.to_canonical_address()
    assert not Signers([b"\2" * 20]).vouches(stranger, b"\1" * 32, made.r, made.s, made.v)
    assert not Signers([b"\2" * 20]).vouches(b"\2" * 20, b"\1" * 32, made.r, made.s, made.v)


def test_the_digest_of_a_personal_message() -> None:
    for message in (b"\0" * 32, b"hello"):
        made = encode_defunct(message)
        assert personal_digest(message) == keccak(b"\x19" + made.version + made.header + made.body)


def test_a_signature_of_the_price_oracle_in_production() -> None:
    message = bytes.fromhex("f5a5d4cf42bf421f48d00a8eb4f0752cd1079061383972b99c57b64a59cce21d")
    r = 0x5B3EF6C1E990D8F8761633386EB1BBAF2C584B048DAEF58FBB8927936F51DEF5
    s = 0x2D91200DE4F245D846A8BF54C3E51B78DC03F81814DBA74765DCC602F5103C32
    public = recover(personal_digest(message), r, s, 1)
    assert public is not None
    assert address_of(public).hex() == "0a803f9b1cce32e2773e0d2e98b37e0775ca5d44"
