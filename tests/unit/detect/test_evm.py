"""EVM triggers: payloads of every generation to watches, logs to results."""

from typing import Any

import pytest

from b3os.abi.signature import parse_signature
from b3os.detect.event_logs import LogEvent, decode_event
from b3os.detect.evm import log_result, native_result, parse_watch
from b3os.errors import BadInput

ALICE, BOB, TOKEN = "0x" + "a1" * 20, "0x" + "b0" * 20, "0x" + "aa" * 20
TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def log(topics: list[str], data: str = "0x") -> LogEvent:
    return LogEvent(TOKEN, tuple(topics), data, "0x10", "0x" + "bb" * 32, "0x" + "cc" * 32, "0x2")


@pytest.mark.parametrize(
    ("value", "policy"),
    [(None, None), ("", None), ("latest", 0), (0, 0), ("12", 12), ("safe", "safe"), ("finalized", "finalized")],
)
def test_confirmations_are_a_number_or_a_tag(value: Any, policy: Any) -> None:
    payload = {"chainId": 1, "walletAddress": ALICE, "confirmations": value}
    assert parse_watch("eth-send", payload).policy == policy


@pytest.mark.parametrize("value", ["soon", -1, 10_001, True, 1.5, [], "1e3"])
def test_other_confirmations_are_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="confirmations") as error:
        parse_watch("eth-send", {"chainId": 1, "walletAddress": ALICE, "confirmations": value})
    assert error.value.code == 400385


def word(value: str | int) -> str:
    return "0x" + (f"{value:064x}" if isinstance(value, int) else value[2:].rjust(64, "0"))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("erc20-receive", {"chainId": 1, "walletAddress": BOB, "tokenAddress": TOKEN}),
        ("erc20-receive", {"chainId": "1", "address": BOB, "tokenAddress": [TOKEN]}),
        ("erc20-receive", {"chainId": 1, "toAddress": BOB, "tokenAddress": TOKEN, "minimumAmount": "0"}),
    ],
)
def test_both_generations_give_the_same_watch(kind: str, payload: dict[str, Any]) -> None:
    found = parse_watch(kind, payload)
    assert found == parse_watch("erc20-receive", {"chainId": 1, "walletAddress": BOB, "tokenAddress": TOKEN})
    assert found.topics == (bytes.fromhex(TOPIC[2:]), None, bytes.fromhex(word(BOB)[2:]))


def test_the_sender_is_the_first_topic() -> None:
    found = parse_watch("erc20-send", {"chainId": 1, "walletAddress": ALICE})
    assert found.topics == (bytes.fromhex(TOPIC[2:]), bytes.fromhex(word(ALICE)[2:]))
    assert found.addresses == ()


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("evm-log", {"chainId": 1}, 400336),
        ("evm-log", {"chainId": 1, "eventName": "Transfer"}, 400332),
        ("evm-log", {"chainId": 1, "eventSignature": "Transfer(uint257)"}, 400332),
        ("evm-log", {"chainId": 0, "address": TOKEN}, 400337),
        ("evm-log", {"chainId": True, "address": TOKEN}, 400337),
        ("evm-log", {"chainId": 1, "address": "0x12"}, 400335),
        ("erc20-receive", {"chainId": 1}, 400335),
        ("eth-receive", {"chainId": 1}, 400335),
        ("eth-receive", {"chainId": 1, "walletAddress": BOB, "minAmount": "1.5"}, 400313),
        ("eth-receive", {"chainId": 1, "walletAddress": BOB, "minAmount": 2**256}, 400313),
    ],
)
def test_what_cannot_be_listened_to_is_refused(kind: str, payload: dict[str, Any], code: int) -> None:
    with pytest.raises(BadInput) as caught:
        parse_watch(kind, payload)
    assert caught.value.code == code


def test_a_signature_without_indexed_still_fits() -> None:
    event = parse_signature("Transfer(address from,address to,uint256 value)")
    assert decode_event(event, log([TOPIC, word(ALICE), word(BOB)], word(7))) == {
        "from": "0xA1A1a1a1A1A1A1A1A1a1a1a1a1a1A1A1a1A1a1a1",
        "to": "0xB0B0b0B0B0B0B0b0B0B0B0b0b0b0b0B0b0b0B0B0",
        "value": "7",
    }


def test_another_event_with_the_same_topic_is_not_it() -> None:
    watch = parse_watch("erc20-receive", {"chainId": 1, "walletAddress": BOB})
    assert log_result(watch, log([TOPIC, word(ALICE), word(BOB), word(9)])) is None, "an ERC-721 transfer"
    assert log_result(watch, log([TOPIC, word(ALICE), word(BOB)], "0x01")) is None, "data too short"


def test_an_indexed_text_is_its_hash_and_unnamed_arguments_have_a_place() -> None:
    event = parse_signature("Said(string indexed, uint8)")
    found = decode_event(event, log([word(1), word(5)], word(3)))
    assert found == {"arg0": word(5), "arg1": "3"}


def test_amounts_below_the_minimum_do_not_fire() -> None:
    watch = parse_watch("erc20-receive", {"chainId": 1, "walletAddress": BOB, "minAmount": "10"})
    assert log_result(watch, log([TOPIC, word(ALICE), word(BOB)], word(9))) is None
    assert log_result(watch, log([TOPIC, word(ALICE), word(BOB)], word(10))) is not None
    coins = parse_watch("eth-receive", {"chainId": 1, "walletAddress": BOB})
    assert native_result(coins, sender=ALICE, to=BOB, value=0, place={}) is None
    moved = native_result(coins, sender=ALICE, to=BOB, value=15 * 10**17, place={})
    assert moved is not None
    assert moved["amountFormatted"] == "1.5"
