"""Filters on arguments: what they bind, what they test, and what is refused when they are written."""

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups.trigger_index import TriggerIndex
from b3os.abi.codec import encode
from b3os.abi.signature import keccak, parse_signature
from b3os.detect.arguments import parse_filter
from b3os.detect.catalog import check_trigger
from b3os.detect.event_logs import LogEvent
from b3os.detect.evm import log_result, parse_watch
from b3os.detect.patterns import compile_pattern, decode_watch, packed, watch_pattern
from b3os.errors import BadInput

TRANSFER = "Transfer(address indexed from, address indexed to, uint256 value)"
EVERY = (
    "Every(address indexed who, string indexed tag, uint8 indexed kind, int64 change, bool ok, bytes4 head, "
    "bytes data, string text, uint256[] ids, (address,uint8)[2] pairs)"
)
ORDER = [{"type": "event", "name": "Filled", "inputs": [{"name": "order", "type": "tuple", "components": [
    {"name": "maker", "type": "address"}, {"name": "amount", "type": "uint256"}]}]}]  # fmt: skip
ALICE, BOB, TOKEN = "0x" + "a1" * 20, "0x" + "b0" * 20, "0x" + "aa" * 20
SIGNATURE = parse_signature(EVERY)
PLAIN = [one.type for one in SIGNATURE.inputs if not one.indexed]


def word(value: int | str) -> str:
    return "0x" + (f"{value:064x}" if isinstance(value, int) else value[2:].rjust(64, "0"))


def every(*, who: str = ALICE, kind: int = 1, change: int = -5) -> LogEvent:
    topics = ("0x" + SIGNATURE.topic.hex(), word(who), "0x" + keccak(b"a").hex(), word(kind))
    body = encode(PLAIN, [change, True, "0xAABBCCDD", "0x0102", "12", [3, 4], [[BOB, 7], [ALICE, 8]]])
    return LogEvent(TOKEN, topics, "0x" + body.hex(), "0x10", "0x" + "bb" * 32, "0x" + "cc" * 32, "0x2")


def fires(filter_: Any, log: LogEvent) -> bool:
    """Match a log as a master does: through the index, then by its decoded arguments."""
    payload = {"chainId": 1, "eventSignature": EVERY, "filter": filter_}
    pattern = compile_pattern("evm-log", payload)
    watch = decode_watch("evm-log", pattern)
    assert watch == parse_watch("evm-log", payload), "a pattern says all that the payload does"
    index = TriggerIndex()
    assert index.put_patterns(packed(3, pattern)) == []
    found = index.match_log(1, bytes.fromhex(TOKEN[2:]), [bytes.fromhex(topic[2:]) for topic in log.topics])
    return found == [3] and log_result(watch, log) is not None


@pytest.mark.parametrize(
    ("filter_", "fired"),
    [
        ({"who": ALICE}, True),
        ({"who": {"$eq": ALICE.upper().replace("X", "x")}}, True),
        ({"who": BOB}, False),
        ({"who": {"$in": [BOB, ALICE]}}, True),
        ({"who": {"$nin": [BOB, ALICE]}}, False),
        ({"who": {"$ne": ALICE}}, False),
        ({"tag": "a"}, True),
        ({"tag": "b"}, False),
        ({"tag": {"$in": ["b", "a"]}}, True),
        ({"kind": "1"}, True),
        ({"kind": 1.0}, True),
        ({"kind": "0x1"}, True),
        ({"kind": {"$gt": 1}}, False),
        ({"change": {"$lt": "-4.0"}}, True),
        ({"change": {"$gte": "-5", "$lt": 0}}, True),
        ({"change": -6}, False),
        ({"change": {"$gt": "{{@kind}}"}}, False),
        ({"ok": True}, True),
        ({"ok": {"$ne": True}}, False),
        ({"head": "0xaabbccdd"}, True),
        ({"head": {"$startsWith": "0xAAbb"}}, True),
        ({"data": {"$startsWith": "0x02"}}, False),
        ({"text": {"$eq": "12.0"}}, True),
        ({"text": {"$gt": 9}}, True),
        ({"text": {"$contains": "2"}}, True),
        ({"text": {"$endsWith": "1"}}, False),
        ({"ids": {"$contains": "0x4"}}, True),
        ({"ids": {"$notContains": 4}}, False),
        ({"ids.1": 4}, True),
        ({"ids.9": 4}, False),
        ({"pairs.0.0": BOB, "pairs.1.1": {"$gt": 7}}, True),
        ({"$or": [{"who": BOB}, {"ok": True}]}, True),
        ({"$not": {"who": BOB}}, True),
        ({"$and": [{"who": ALICE}, {"$not": {"kind": 1}}]}, False),
        ([{"who": ALICE}, {"kind": 1}], True),
        ({"$gt": ["{{@change}}", -6]}, True),
        ({"$and": [{"$eq": ["{{@who}}", ALICE]}, {"{{@kind}}": 2}]}, False),
        ({"$and": [{"who": ALICE}, {"who": BOB}]}, False),
    ],
)
def test_filters_fire_for_the_logs_that_they_say(filter_: Any, fired: bool) -> None:
    assert fires(filter_, every()) is fired


def test_what_an_indexed_argument_must_equal_is_a_topic_and_nothing_is_left_to_test() -> None:
    watch = parse_watch("evm-log", {"chainId": 1, "eventSignature": TRANSFER, "filter": {"to": BOB}})
    assert watch.topics == (parse_signature(TRANSFER).topic, None, bytes.fromhex(word(BOB)[2:]))
    assert watch.filter is None
    assert watch_pattern(watch)[0] == 1, "any master reads it"


def test_only_what_surely_must_hold_becomes_a_topic() -> None:
    for filter_ in ({"$or": [{"to": BOB}]}, {"$not": {"to": BOB}}, {"to": {"$ne": BOB}}, {"to": "{{@from}}"}):
        bound, rest = parse_filter(parse_signature(TRANSFER), filter_)
        assert (bound, rest is None) == ({}, False)


def test_without_indexed_in_the_signature_arguments_are_tested_after_decoding() -> None:
    plain = "Transfer(address from, address to, uint256 value)"
    watch = parse_watch("evm-log", {"chainId": 1, "eventSignature": plain, "filter": {"to": BOB}})
    assert len(watch.topics) == 1
    topics = ("0x" + watch.topics[0].hex(), word(ALICE), word(BOB))  # type: ignore[union-attr]
    log = LogEvent(TOKEN, topics, word(7), "0x10", "0x" + "bb" * 32, "0x" + "cc" * 32, "0x2")
    assert log_result(watch, log) is not None
    assert log_result(watch, LogEvent(TOKEN, (*topics[:2], word(ALICE)), word(7), "0x1", "0x", "0x", "0x2")) is None


def test_the_topics_of_an_anonymous_event_begin_with_its_arguments() -> None:
    payload = {"chainId": 1, "address": TOKEN, "eventSignature": "E(uint8 indexed a, uint8 indexed b) anonymous"}
    watch = parse_watch("evm-log", {**payload, "filter": {"b": 5}})
    assert watch.topics == (None, (5).to_bytes(32, "big"))


def test_members_of_a_tuple_have_names_where_the_abi_gives_them() -> None:
    payload = {"chainId": 1, "eventName": "Filled", "abi": ORDER, "filter": {"order.amount": {"$gte": "1e18"}}}
    watch = parse_watch("evm-log", payload)
    assert watch.event is not None
    body = "0x" + encode([one.type for one in watch.event.inputs], [[BOB, 10**18]]).hex()
    log = LogEvent(TOKEN, ("0x" + watch.event.topic.hex(),), body, "0x10", "0x", "0x", "0x2")
    assert log_result(watch, log) is not None
    assert compile_pattern("evm-log", payload) == b"", "names inside tuples stay in the payload"


def test_confirmations_and_filter_are_in_one_pattern() -> None:
    payload = {"chainId": 1, "eventSignature": TRANSFER, "filter": {"value": {"$gt": 5}}, "confirmations": "safe"}
    assert decode_watch("evm-log", compile_pattern("evm-log", payload)).policy == "safe"


@pytest.mark.parametrize(
    ("filter_", "code", "words"),
    [
        ({"amount": 1}, 400386, "it has: who, tag, kind"),
        ({"pairs.2.0": BOB}, 400386, "has no '2'"),
        ({"pairs.0.who": BOB}, 400386, "has no 'who'"),
        ({"tag.0": 1}, 400386, "only the hash of tag"),
        ({"who": {"$gt": 1}}, 400387, r"address, and takes \$eq"),
        ({"who": {"$contains": "a1"}}, 400387, "takes"),
        ({"tag": {"$startsWith": "a"}}, 400387, "takes"),
        ({"ok": {"$lt": True}}, 400387, "takes"),
        ({"ids": [1]}, 400387, "takes"),
        ({"pairs.0": {"$eq": []}}, 400387, "name a member"),
        ({"kind": {"$exists": True}}, 400387, "takes"),
        ({"kind": {"$between": [1, 2]}}, 400387, "between"),
        ({"kind": "{{@who}}"}, 400387, "of one type"),
        ({"kind": {"$in": "{{@change}}"}}, 400387, "of one type"),
        ({"who": "0x12"}, 400388, "no address"),
        ({"who": "0xa1A1a1a1A1A1A1A1A1a1a1a1a1a1A1A1a1A1a1a1"}, 400388, "checksum"),
        ({"who": {"$in": ALICE}}, 400388, "takes a list"),
        ({"kind": 256}, 400388, "between 0 and 255"),
        ({"kind": 1.5}, 400388, "integer"),
        ({"kind": "many"}, 400388, "integer"),
        ({"kind": "1e999"}, 400388, "integer"),
        ({"kind": True}, 400388, "integer"),
        ({"kind": "{{root.result.kind}}"}, 400388, "integer"),
        ({"ok": "true"}, 400388, "true or false"),
        ({"head": "0xaabb"}, 400388, "4 bytes"),
        ({"text": 5}, 400388, "text"),
        ({"ids": {"$contains": -1}}, 400388, "between"),
        ({"kind": {"$in": list(range(200)) * 6}}, 400388, "at most 1000"),
        ({"$nor": []}, 400386, "no argument"),
        ({"$and": {}}, 400310, "takes a list"),
        ({"$or": []}, 400310, "takes a list"),
        ({"$eq": ["kind", 1]}, 400310, "takes an argument"),
        ({"kind": {}}, 400310, "compared"),
        ({"$not": 5}, 400310, "is an object"),
        ("kind > 1", 400310, "is an object"),
    ],
)
def test_a_filter_that_no_log_could_pass_is_refused(filter_: Any, code: int, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        check_trigger("evm-log", {"chainId": 1, "eventSignature": EVERY, "filter": filter_})
    assert caught.value.code == code


def test_a_filter_that_nests_without_end_is_refused() -> None:
    deep: Any = {"kind": 1}
    for _ in range(80):
        deep = {"$not": deep}
    with pytest.raises(BadInput, match="nests"):
        parse_filter(SIGNATURE, deep)


def test_an_event_with_more_indexed_arguments_than_a_log_has_topics_cannot_be_filtered_by_them() -> None:
    event = "E(uint8 indexed a, uint8 indexed b, uint8 indexed c, uint8 indexed d)"
    with pytest.raises(BadInput, match="4 topics") as caught:
        check_trigger("evm-log", {"chainId": 1, "eventSignature": event, "filter": {"d": 1}})
    assert caught.value.code == 400386


def test_a_filter_needs_the_event() -> None:
    with pytest.raises(BadInput, match="needs the event") as caught:
        check_trigger("evm-log", {"chainId": 1, "address": TOKEN, "filter": {"value": 1}})
    assert caught.value.code == 400386


NUMBERS = {"$eq": operator.eq, "$ne": operator.ne, "$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt,
           "$lte": operator.le}  # fmt: skip
LEAVES = st.tuples(st.sampled_from(["kind", "change", "who"]), st.sampled_from(sorted(NUMBERS)), st.integers(0, 2))


def _holds(tree: Any, values: dict[str, int]) -> bool:
    match tree:
        case ("and", *parts):
            return all(_holds(part, values) for part in parts)
        case ("or", *parts):
            return any(_holds(part, values) for part in parts)
        case ("not", part):
            return not _holds(part, values)
    name, test, value = tree
    return bool(NUMBERS[test](values[name], value))


def _written(tree: Any) -> Any:
    match tree:
        case ("and" | "or" as word_, *parts):
            return {f"${word_}": [_written(part) for part in parts]}
        case ("not", part):
            return {"$not": _written(part)}
    name, test, value = tree
    return {name: {test: f"0x{value:040x}" if name == "who" else str(value)}}


def _leaf_fits(leaf: tuple[str, str, int]) -> bool:
    return leaf[0] != "who" or leaf[1] in ("$eq", "$ne")


TREES = st.recursive(
    LEAVES.filter(_leaf_fits),
    lambda inner: st.tuples(st.just("not"), inner)
    | st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=6,
)  # fmt: skip


@given(TREES, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_splitting_a_filter_changes_nothing_of_what_it_says(tree: Any, kind: int, change: int, who: int) -> None:
    log = every(kind=kind, change=change, who=f"0x{who:040x}")
    assert fires(_written(tree), log) is _holds(tree, {"kind": kind, "change": change, "who": who})
