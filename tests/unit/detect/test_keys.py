"""Exact keys: every source's are expressible, in the index as in its model, and never mistaken for another's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups.trigger_index import TriggerIndex
from b3os.detect.keys import LONGEST, KeyKind, exact_key, folded_key
from tests.reference.trigger_index import TriggerIndexModel

# Few texts, so that kinds share keys; long ones, and ones that look like joined or hashed keys.
TEXTS = st.sampled_from(["a", "b", "a\0b", "\0", "", "x" * 96, "x" * 97, "ä" * 60, "C0123", "0xAbC"])
PARTS = st.lists(TEXTS, min_size=1, max_size=3).map(tuple)
KEYS = st.builds(exact_key, st.just("T1"), TEXTS) | PARTS.map(lambda parts: exact_key(*parts))
KINDS = st.sampled_from(KeyKind)


@given(
    st.lists(st.tuples(st.integers(0, 20), KINDS, KEYS), max_size=40),
    st.lists(st.integers(0, 20), max_size=10),
    st.lists(KEYS, max_size=10),
)
def test_keys_of_every_kind_are_found_as_in_the_model(
    puts: list[tuple[int, KeyKind, bytes]], drops: list[int], wanted: list[bytes]
) -> None:
    index, model = TriggerIndex(), TriggerIndexModel()
    for slot, kind, key in dict.fromkeys(puts):
        index.put_key(slot, kind, key)
        model.put_key(slot, kind, key)
    for slot in drops:
        assert index.drop(slot) == model.drop(slot)
    for kind in KeyKind:
        for keys in (wanted, [key for _, _, key in puts]):
            assert index.match_keys(kind, keys) == model.match_keys(kind, keys)


@given(PARTS, PARTS)
def test_different_texts_have_different_keys(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (exact_key(*one) == exact_key(*other)) == (one == other)
    assert len(exact_key(*one)) <= LONGEST


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (KeyKind.WEBHOOK_SECRET, exact_key("s" * 64)),
        (KeyKind.SLACK_CHANNEL, exact_key("T024BE7LD", "C024BE91L")),
        (KeyKind.POLYMARKET_MARKET, folded_key("0x" + "Ab" * 32)),
        (KeyKind.POLYMARKET_USER, folded_key("0x" + "Cd" * 20)),
        (KeyKind.MAILBOX, folded_key(f"{'Long' * 16}@{'example.' * 23}com")),
    ],
)
def test_the_keys_of_a_kind_are_its_own(kind: KeyKind, key: bytes) -> None:
    index = TriggerIndex()
    index.put_key(3, kind, key)
    for other in KeyKind:
        assert index.match_keys(other, [key]) == ([(0, 3)] if other is kind else [])


def test_case_says_nothing_in_an_address() -> None:
    assert folded_key(" Ann@Example.com") == folded_key("ann@example.COM")
