"""What the oracle really signed, and how little of it may be changed."""

import copy
from typing import Any

import msgspec
import pytest

from b3os.chain.signatures import Signers
from services.master.sources.stork import PUBLIC_SIGNERS, RefusedPrice, read_frame, read_quote, subscription
from tests.emulators.stork import SIGNER, quote

SIGNERS = Signers([bytes.fromhex(one[2:]) for one in (PUBLIC_SIGNERS, SIGNER)])
MEDIAN = "9be7e9f9ed459417d96112a7467bd0b27575a2c7847195c68f805b70ce1795ba"


def production(asset: str, name: str, price: str, at_ns: int, root: str, r: str, s: str) -> dict[str, Any]:
    """A quote of the public service without its list of publishers."""
    signature = {"r": r, "s": s, "v": "0x1c"}
    return {
        "timestamp": at_ns, "asset_id": asset, "signature_type": "evm", "trigger": "clock", "price": price,
        "stork_signed_price": {
            "public_key": PUBLIC_SIGNERS, "encoded_asset_id": name, "price": price,
            "timestamped_signature": {"signature": signature, "timestamp": at_ns, "msg_hash": "0x"},
            "publisher_merkle_root": root,
            "calculation_alg": {"type": "median", "version": "v1", "checksum": MEDIAN},
        },
    }  # fmt: skip


BTC = production(
    "BTCUSD", "0x7404e3d104ea7841c3d9e6fd20adfe99b4ad586bc08d8f3bd3afef894cf184de", "62507457175499998000000",
    1722632569208762117, "0xe5ff773b0316059c04aa157898766731017610dcbeede7d7f169bfeaab7cc318",
    "0xb9b3c9f80a355bd0cd6f609fff4a4b15fa4e3b4632adabb74c020f5bcd240741",
    "0x16fab526529ac795108d201832cff8c2d2b1c710da6711fe9f7ab288a7149758",
)  # fmt: skip
OURS = quote("ETHUSD", -3 * 10**18, 1780000000123456789)


def read(made: dict[str, Any], asset: str = "", now_ns: int = 0) -> tuple[str, int, int]:
    raw = msgspec.Raw(msgspec.json.encode(made))
    tick, plain = read_quote(asset or made["asset_id"], raw, SIGNERS, now_ns or made["timestamp"])
    assert plain == made
    return tick.asset, tick.price, tick.at_ns


@pytest.mark.parametrize("made", [BTC, OURS], ids=["production", "negative"])
def test_what_was_really_signed_is_believed(made: dict[str, Any]) -> None:
    assert read(made) == (made["asset_id"], int(made["price"]), made["timestamp"])


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("price",), "62507457175499998000001", "mismatch"),
        (("timestamp",), 1722632569208762118, "mismatch"),
        (("asset_id",), "ETHUSD", "mismatch"),
        (("stork_signed_price", "encoded_asset_id"), "0x" + "11" * 32, "mismatch"),
        (("stork_signed_price", "publisher_merkle_root"), "0x" + "11" * 32, "signature"),
        (("stork_signed_price", "calculation_alg", "checksum"), "11" * 32, "signature"),
        (("stork_signed_price", "public_key"), SIGNER, "signature"),
        (("stork_signed_price", "timestamped_signature", "signature", "v"), "0x02", "signature"),
        (("stork_signed_price", "timestamped_signature", "signature", "r"), "0x" + "11" * 32, "signature"),
        (("stork_signed_price", "timestamped_signature", "signature", "s"), "nonsense", "malformed"),
        (("stork_signed_price", "public_key"), "0x12", "malformed"),
        (("stork_signed_price", "timestamped_signature", "timestamp"), 1.5, "malformed"),
        (("stork_signed_price",), None, "malformed"),
        (("signed_prices",), [{}], "malformed"),
    ],
)
def test_a_quote_with_one_thing_changed_is_not_believed(path: tuple[str, ...], value: Any, reason: str) -> None:
    made = copy.deepcopy(BTC)
    place = made
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    signers = Signers([bytes.fromhex(PUBLIC_SIGNERS[2:])])
    for known in (signers, SIGNERS):  # a key that is not known yet, and one that is
        read(BTC)
        with pytest.raises(RefusedPrice) as refused:
            read_quote("BTCUSD", msgspec.Raw(msgspec.json.encode(made)), known, BTC["timestamp"])
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    "more", [b'"x":' + b"[" * 100_000 + b"]" * 100_000, b'"x":"\\ud800"', b'"x":"\xff"', b'"x":NaN', b'"x"']
)
def test_a_hostile_addition_to_a_good_quote_is_refused(more: bytes) -> None:
    raw = msgspec.Raw(msgspec.json.encode(BTC)[:-1] + b"," + more + b"}")
    with pytest.raises(RefusedPrice, match="malformed"):
        read_quote("BTCUSD", raw, SIGNERS, BTC["timestamp"])


@pytest.mark.parametrize("index", range(3))
def test_a_publisher_that_said_something_else_is_found_out(index: int) -> None:
    made = copy.deepcopy(OURS)
    made["signed_prices"][index]["price"] = "5"
    with pytest.raises(RefusedPrice, match="publishers"):
        read(made)


@pytest.mark.parametrize(("seconds", "is_news"), [(29, True), (31, False), (-9, True), (-11, False)])
def test_a_price_from_another_time_is_no_news(seconds: int, is_news: bool) -> None:
    now_ns = BTC["timestamp"] + seconds * 10**9
    if is_news:
        read(BTC, now_ns=now_ns)
    else:
        with pytest.raises(RefusedPrice, match="stale"):
            read(BTC, now_ns=now_ns)


def test_messages_of_the_client() -> None:
    assert subscription("subscribe", {"ETHUSD", "BTCUSD"}) == [b'{"type":"subscribe","data":["BTCUSD","ETHUSD"]}']
    assert subscription("unsubscribe", ()) == []
    assert len(subscription("subscribe", map(str, range(1001)))) == 2


def test_an_acknowledgement_is_read() -> None:
    frame = read_frame(b'{"type":"subscribe","trace_id":"t-1","data":{"subscriptions":["BTCUSD"]}}')
    assert (frame.type, frame.error) == ("subscribe", "")
