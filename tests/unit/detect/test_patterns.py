"""Patterns say what their watches say, to the index as to the reader; anything else is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups.trigger_index import TriggerIndex
from b3os.abi.signature import parse_signature
from b3os.detect.evm import EVM_TYPES, LOG_TYPES, TRANSFER, Watch, block_key, native_key, parse_watch
from b3os.detect.keys import KeyKind
from b3os.detect.patterns import compile_pattern, decode_watch, packed, watch_pattern
from b3os.errors import BadInput

ADDRESS = st.binary(min_size=20, max_size=20).map(lambda data: "0x" + data.hex())
LISTED = st.none() | ADDRESS | st.lists(ADDRESS, max_size=4)
AMOUNT = st.sampled_from(["0", "1", "255", str(2**256 - 1)]) | st.integers(0, 2**256 - 1).map(str)
SIGNATURE = st.sampled_from(
    [
        "Transfer(address indexed from, address indexed to, uint256 value)",
        "event Odd((uint8,bytes)[2] indexed pairs, string) anonymous",
        "Nothing()",
    ]
)
CHAIN = st.sampled_from([1, 8453, 2**53])


@st.composite
def triggers(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    kind = draw(st.sampled_from(sorted(EVM_TYPES)))
    payload: dict[str, Any] = {"chainId": draw(CHAIN), "minAmount": draw(AMOUNT)}
    if kind == "evm-log":
        payload |= {"eventSignature": draw(SIGNATURE), "address": draw(LISTED), "contractAddress": "0x" + "00" * 20}
    elif kind == "evm-revert":
        payload |= {draw(st.sampled_from(["address", "walletAddress"])): draw(ADDRESS)}
    else:
        every = draw(st.none() | st.integers(1, 10**8))
        payload |= {"walletAddress": draw(ADDRESS), "tokenAddress": draw(LISTED), "every": every}
    return kind, payload


def _key(watch: Watch) -> tuple[int, bytes]:
    chain = watch.chain_id.to_bytes(8, "big")
    match watch.type:
        case "evm-block":
            return 10, chain + watch.every.to_bytes(8, "big")
        case "evm-revert":
            return (8, chain + watch.addresses[0]) if watch.addresses else (9, chain + watch.account)
    return (1 if watch.type == "eth-receive" else 2), chain + watch.account


@given(triggers())
def test_a_pattern_is_read_back_as_its_watch(trigger: tuple[str, dict[str, Any]]) -> None:
    kind, payload = trigger
    pattern = compile_pattern(kind, payload)
    assert pattern
    assert decode_watch(kind, pattern) == parse_watch(kind, payload)


@given(st.lists(triggers(), max_size=6), st.integers(0, 5))
def test_the_index_takes_a_pattern_as_it_takes_its_fields(chosen: list[tuple[str, dict[str, Any]]], gone: int) -> None:
    from_patterns, from_fields = TriggerIndex(), TriggerIndex()
    assert from_patterns.put_patterns(b"".join(packed(0, compile_pattern(*one)) for one in chosen[:1])) == []
    assert from_patterns.put_patterns(b"".join(packed(n, compile_pattern(*one)) for n, one in enumerate(chosen))) == []
    watches = [parse_watch(*one) for one in chosen]
    for slot, watch in enumerate(watches):
        if watch.type not in LOG_TYPES:
            from_fields.put_key(slot, *_key(watch))
            continue
        for address in watch.addresses or (None,):
            from_fields.put_log(slot, watch.chain_id, address, watch.topics)
    assert from_patterns.drop(gone) == from_fields.drop(gone)
    assert len(from_patterns) == len(from_fields)
    for watch in watches:
        chain = watch.chain_id
        assert from_patterns.log_filter(chain) == from_fields.log_filter(chain)
        assert from_patterns.slots_on(chain) == [
            n for n, one in enumerate(watches) if one.chain_id == chain and n != gone
        ]
        assert from_patterns.steps(chain) == from_fields.steps(chain)
        for kind in KeyKind:
            assert from_patterns.has_keys(chain, kind) == from_fields.has_keys(chain, kind)
            keys = [native_key(chain, one) for one in (watch.account, *watch.addresses) if len(one) == 20]
            keys.append(block_key(chain, watch.every))
            assert from_patterns.match_keys(kind, keys) == from_fields.match_keys(kind, keys)
        for address in watch.addresses or (b"\7" * 20,):
            topics = [topic or b"\1" * 32 for topic in watch.topics]
            assert from_patterns.match_log(chain, address, topics) == from_fields.match_log(chain, address, topics)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\1\1" + data))
def test_anything_else_is_refused_and_changes_nothing_for_others(data: bytes) -> None:
    index = TriggerIndex()
    index.put_log(1, 1, None, (TRANSFER.topic,))
    refused = index.put_patterns(packed(7, data) + packed(8, watch_pattern(parse_watch("eth-send", ETH))))
    assert refused in ([], [7])
    assert len(index) == 3 - len(refused)
    for kind in ("evm-log", "erc20-send", "eth-send"):
        try:
            assert isinstance(decode_watch(kind, data), Watch)
        except BadInput as error:
            assert error.code in (400332, 400380)  # noqa: PT017


ETH = {"chainId": 1, "walletAddress": "0x" + "11" * 20}


def test_a_pattern_of_a_later_version_says_so() -> None:
    pattern = compile_pattern("eth-send", ETH)
    with pytest.raises(BadInput, match="version 3"):
        decode_watch("eth-send", b"\3" + pattern[1:])
    assert TriggerIndex().put_patterns(packed(3, b"\3" + pattern[1:])) == [3]


def test_packed_patterns_that_are_cut_are_refused() -> None:
    whole = packed(1, compile_pattern("eth-send", ETH))
    for cut in (3, 9, len(whole) - 1):
        with pytest.raises(ValueError, match="end inside"):
            TriggerIndex().put_patterns(whole[:cut])


def test_what_a_pattern_cannot_say_stays_in_the_payload() -> None:
    abi = [
        {
            "type": "event",
            "name": "Sold",
            "inputs": [{"name": "a,b", "type": "uint256"}, {"name": "x", "type": "address", "indexed": True}],
        }
    ]
    payload = {"chainId": 1, "eventName": "Sold", "abi": abi}
    assert compile_pattern("evm-log", payload) == b""
    watch = parse_watch("evm-log", payload)
    index = TriggerIndex()
    assert index.put_patterns(packed(1, watch_pattern(watch))) == []
    assert index.match_log(1, b"\1" * 20, [parse_signature("Sold(uint256,address)").topic]) == [1]
    assert compile_pattern("cronjob", {"schedule": "* * * * *"}) == b""
    with pytest.raises(BadInput):
        compile_pattern("evm-log", {"chainId": 1})
