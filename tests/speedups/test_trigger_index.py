"""The compiled trigger index against its model over generated histories, and its JSON reader against anything."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from b3os._speedups.trigger_index import TriggerIndex
from tests.reference.trigger_index import TriggerIndexModel

# Few values, so that histories collide.
CHAINS = st.sampled_from([1, 8453, 2**63 - 1])
SLOTS = st.integers(0, 40)
ADDRESSES = st.sampled_from([bytes([n]) * 20 for n in range(4)])
TOPICS = st.sampled_from([bytes([n]) * 32 for n in range(4)])
BOUND = st.lists(st.none() | TOPICS, max_size=4)
KINDS = st.sampled_from([0, 1, 2, 3, 8, 9, 10])
OF_CHAINS = st.builds(
    lambda chain, rest: chain.to_bytes(8, "big") + rest, CHAINS, st.sampled_from([b"", b"a" * 20, b"\0" * 7 + b"\5"])
)
KEYS = st.binary(max_size=3) | st.sampled_from([b"k" * 96, b"k" * 95]) | OF_CHAINS
LOGS = st.lists(st.tuples(ADDRESSES, st.lists(TOPICS, max_size=4)), max_size=80)


def as_json(address: bytes, topics: list[bytes]) -> dict[str, Any]:
    return {
        "data": '0x"}]\\',
        "topics": ["0x" + topic.hex() for topic in topics],
        "removed": False,
        "nested": {"address": [1, {"topics": None}]},
        "address": "0x" + address.hex().upper(),
    }


class Histories(RuleBasedStateMachine):
    """Puts and drops in any order; after each step every event is matched alike."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.model = TriggerIndex(), TriggerIndexModel()

    @rule(slot=SLOTS, chain=CHAINS, address=st.none() | ADDRESSES, topics=BOUND)
    def put_log(self, slot: int, chain: int, address: bytes | None, topics: list[bytes | None]) -> None:
        for one in (self.index, self.model):
            one.put_log(slot, chain, address, topics)

    @rule(slot=SLOTS, kind=KINDS, key=KEYS)
    def put_key(self, slot: int, kind: int, key: bytes) -> None:
        for one in (self.index, self.model):
            one.put_key(slot, kind, key)

    @rule(slot=SLOTS)
    def drop(self, slot: int) -> None:
        assert self.index.drop(slot) == self.model.drop(slot)

    @rule(chain=CHAINS, logs=LOGS)
    def match_logs(self, chain: int, logs: list[tuple[bytes, list[bytes]]]) -> None:
        objects = [as_json(address, topics) for address, topics in logs]
        body = json.dumps({"id": 1, "result": objects}).encode()
        count, hits = self.index.match_logs_json(chain, body)
        assert count == len(logs)
        assert [(slot, body[start:end].decode()) for slot, start, end in hits] == self.model.match_logs(chain, objects)

    @rule(chain=CHAINS, address=ADDRESSES, topics=st.lists(TOPICS, max_size=4))
    def match_log(self, chain: int, address: bytes, topics: list[bytes]) -> None:
        assert self.index.match_log(chain, address, topics) == self.model.match_log(chain, address, topics)

    @rule(kind=KINDS, keys=st.lists(KEYS, max_size=5))
    def match_keys(self, kind: int, keys: list[bytes]) -> None:
        assert self.index.match_keys(kind, keys) == self.model.match_keys(kind, keys)

    @rule(chain=CHAINS)
    def filters(self, chain: int) -> None:
        assert self.index.has_chain(chain) == self.model.has_chain(chain)
        assert self.index.steps(chain) == self.model.steps(chain)
        for kind in (1, 2, 8, 9, 10):
            assert self.index.has_keys(chain, kind) == self.model.has_keys(chain, kind)
        if self.model.has_chain(chain):
            assert self.index.log_filter(chain) == self.model.log_filter(chain)

    @invariant()
    def counts(self) -> None:
        assert len(self.index) == len(self.model)


TestHistories = Histories.TestCase


def test_ten_thousand_watchers_of_one_pattern_come_and_go() -> None:
    index = TriggerIndex()
    topic = b"\1" * 32
    for slot in range(10_000):
        index.put_log(slot, 1, None, [topic])
        index.put_log(slot, 1, None, [topic])  # twice is once
    assert index.match_log(1, b"\0" * 20, [topic]) == list(range(10_000))
    assert all(index.drop(slot) for slot in range(0, 10_000, 2))
    assert index.match_log(1, b"\0" * 20, [topic]) == list(range(1, 10_000, 2))
    assert all(index.drop(slot) for slot in range(1, 10_000, 2))
    assert (len(index), index.has_chain(1), index.match_log(1, b"\0" * 20, [topic])) == (0, False, [])


def test_places_are_used_again() -> None:
    index = TriggerIndex()
    for number in range(5000):
        index.put_log(number % 50, 1, None, [number.to_bytes(32, "big")])
        if number % 50 == 49:
            size = index.memory()
            for slot in range(50):
                index.drop(slot)
    assert index.memory() == size


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda i: i.put_log(-1, 1, None, []), "slot"),
        (lambda i: i.put_log(2**31, 1, None, []), "slot"),
        (lambda i: i.put_log(1, 0, None, []), "chain id"),
        (lambda i: i.put_log(1, 1, b"short", []), "20 bytes"),
        (lambda i: i.put_log(1, 1, None, [b"short"]), "32 bytes"),
        (lambda i: i.put_log(1, 1, None, [None] * 5), "4 topics"),
        (lambda i: i.put_key(1, 256, b""), "kind"),
        (lambda i: i.put_key(1, 1, b"x" * 97), "96 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(act: Any, text: str) -> None:
    index = TriggerIndex()
    with pytest.raises(ValueError, match=text):
        act(index)
    assert len(index) == 0


GOOD = json.dumps({"result": [as_json(b"\1" * 20, [b"\2" * 32])]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[",
        b'{"error":{"code":1}}',
        b'{"result":null}',
        b'{"result":[{}]}',
        b'{"result":[{"address":"0x12","topics":[]}]}',
        GOOD + b"x",
        GOOD.replace(b"02", b"0g", 1),
        b'{"result":' + b"[" * 1000,
        b'[{"a":' + b"[" * 100 + b"]" * 100 + b',"address":"0x' + b"11" * 20 + b'","topics":[]}]',
    ],
)
def test_json_that_is_no_list_of_logs_is_refused(body: bytes) -> None:
    index = TriggerIndex()
    with pytest.raises(ValueError, match="at byte"):
        index.match_logs_json(1, body)


@given(st.binary(max_size=200), st.integers(0, len(GOOD)), st.integers(0, 30))
def test_damaged_json_is_read_or_refused_and_never_past_its_end(noise: bytes, at: int, cut: int) -> None:
    index = TriggerIndex()
    index.put_log(7, 1, b"\1" * 20, [])
    for body in (noise, GOOD[:at], GOOD[:at] + noise + GOOD[at + cut :]):
        with contextlib.suppress(ValueError):
            count, hits = index.match_logs_json(1, body)
            assert all(0 <= start < end <= len(body) for _, start, end in hits)
            assert count >= len(hits)
