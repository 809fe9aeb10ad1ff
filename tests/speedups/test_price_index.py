"""The compiled price index against its model over generated histories, and its edges."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from b3os._speedups.price_index import ABOVE, BELOW, CROSS_DOWN, CROSS_UP, EQUAL, LIMIT, PriceIndex
from tests.reference.prices import PriceIndexModel

UNIT = 10**18
OPERATIONS = st.sampled_from([CROSS_UP, CROSS_DOWN, ABOVE, BELOW, EQUAL])
ASSETS = st.sampled_from(["BTCUSD", "ETHUSD", "SOLUSD"])
SLOTS = st.integers(0, 60)
# Few values near each other so that histories collide; the ends of the range; both sides of 64 bits.
PRICES = st.integers(-4, 12) | st.sampled_from([LIMIT, -LIMIT, 2**63, 2**64 - 1, 2**64, -(2**64)])
SLACKS = st.just(0) | st.integers(1, 5) | st.just(LIMIT)
TICKS = st.lists(st.tuples(ASSETS, PRICES), max_size=12)


class Histories(RuleBasedStateMachine):
    """Puts, drops, ticks and restores in any order; both find the same, and hold the same."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.model = PriceIndex(), PriceIndexModel()

    @rule(slot=SLOTS, asset=ASSETS, operation=OPERATIONS, level=PRICES, slack=SLACKS)
    def put(self, slot: int, asset: str, operation: int, level: int, slack: int) -> None:
        for one in (self.index, self.model):
            one.put(slot, asset, operation, level, slack)

    @rule(slot=SLOTS)
    def drop(self, slot: int) -> None:
        assert self.index.drop(slot) == self.model.drop(slot)

    @rule(slot=SLOTS)
    def latch(self, slot: int) -> None:
        assert self.index.latch(slot) == self.model.latch(slot)

    @rule(asset=ASSETS, price=st.none() | PRICES)
    def restore_previous(self, asset: str, price: int | None) -> None:
        for one in (self.index, self.model):
            one.set_previous(asset, price)

    @rule()
    def reset(self) -> None:
        for one in (self.index, self.model):
            one.reset()

    @rule(ticks=TICKS)
    def match(self, ticks: list[tuple[str, int]]) -> None:
        hits, rearmed = self.index.match(ticks)
        expected_hits, expected_rearmed = self.model.match(ticks)
        assert sorted(hits) == sorted(expected_hits)
        assert sorted(rearmed) == sorted(expected_rearmed)
        assert [number for number, _ in hits] == sorted(number for number, _ in hits)

    @precondition(lambda self: len(self.model))
    @rule(data=st.data(), prices=st.lists(PRICES, min_size=1, max_size=6))
    def match_around_what_is_watched(self, data: Any, prices: list[int]) -> None:
        asset = data.draw(st.sampled_from(self.model.watched()))
        self.match([(asset, price) for price in prices])

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.index) == len(self.model)
        assert sorted(self.index.watched()) == sorted(self.model.watched())
        for slot, one in self.model.thresholds.items():
            assert self.index.has(slot, one.asset, one.operation, one.level, one.slack)
            assert not self.index.has(slot, one.asset, one.operation, -one.level or 1, one.slack)
            assert not self.index.has(slot, "XRPUSD", one.operation, one.level, one.slack)
        assert [n in self.index for n in range(62)] == [n in self.model.thresholds for n in range(62)]
        assert [self.index.is_latched(n) for n in range(62)] == [self.model.is_latched(n) for n in range(62)]
        for asset in ("BTCUSD", "ETHUSD", "SOLUSD"):
            assert self.index.previous(asset) == self.model.previous(asset)


TestHistories = Histories.TestCase


@given(st.integers(0, 2**32))
def test_blocks_split_and_join_without_losing_a_threshold(seed: int) -> None:
    """Enough thresholds for several blocks, few levels so that many are equal."""
    rng = random.Random(seed)
    index, model = PriceIndex(), PriceIndexModel()
    slots = list(range(1500))
    rng.shuffle(slots)
    for slot in slots:
        arguments = (slot, "BTCUSD", rng.randrange(5), rng.randrange(40), rng.choice([0, 0, 3]))
        index.put(*arguments)
        model.put(*arguments)
    for slot in rng.sample(slots, rng.choice([100, 1400])):
        assert index.drop(slot)
        model.drop(slot)
    ticks = [("BTCUSD", rng.randrange(-5, 45)) for _ in range(6)]
    hits, rearmed = index.match(ticks)
    expected = model.match(ticks)
    assert (sorted(hits), sorted(rearmed)) == tuple(map(sorted, expected))
    for slot in slots:
        index.drop(slot)
    assert (len(index), index.watched()) == (0, [])


def fired(index: PriceIndex, *prices: int) -> list[int]:
    """The numbers of the ticks that fire."""
    return [number for number, _ in index.match([("BTCUSD", price) for price in prices])[0]]


@pytest.mark.parametrize(
    ("operation", "slack", "prices", "expected"),
    [
        (CROSS_UP, 0, [100, 99, 100, 101, 99, 105], [2, 5]),
        (CROSS_UP, 0, [120, 130], []),
        (CROSS_UP, 5, [99, 100, 96, 101, 95, 99, 100], [1, 6]),
        (CROSS_DOWN, 0, [100, 101, 100, 99, 101, 90], [2, 5]),
        (CROSS_DOWN, 5, [101, 100, 104, 99, 105, 100], [1, 5]),
        (ABOVE, 0, [101, 102, 100, 101], [0, 3]),
        (ABOVE, 5, [101, 96, 101, 95, 101], [0, 4]),
        (BELOW, 0, [99, 98, 100, 99], [0, 3]),
        (BELOW, 5, [99, 104, 99, 105, 99], [0, 4]),
        (EQUAL, 0, [100, 100, 101, 99, 100], [0, 4]),
        (EQUAL, 5, [100, 104, 100, 95, 100, 105, 100], [0, 4, 6]),
    ],
)
def test_a_threshold_fires_when_its_condition_becomes_true_and_again_after_its_slack(
    operation: int, slack: int, prices: list[int], expected: list[int]
) -> None:
    index = PriceIndex()
    index.put(7, "BTCUSD", operation, 100, slack)
    assert fired(index, *prices) == expected


def test_a_million_dollars_in_one_jump_fires_all_that_lie_between_in_order() -> None:
    index = PriceIndex()
    for slot in range(2000):
        index.put(slot, "BTCUSD", CROSS_UP, slot * 500 * UNIT)
    index.match([("BTCUSD", -1)])
    hits, _ = index.match([("BTCUSD", 10**6 * UNIT)])
    assert hits == [(0, slot) for slot in range(2000)]


def test_what_fired_before_a_restart_stays_latched() -> None:
    index = PriceIndex()
    index.put(1, "BTCUSD", ABOVE, 100)
    index.put(2, "BTCUSD", CROSS_UP, 100)
    index.set_previous("BTCUSD", 150)
    assert index.latch(1)
    assert fired(index, 151) == []
    assert fired(index, 100, 101) == [1], "cross-up fires at 100 only from below it"


def test_an_asset_that_nothing_watches_is_forgotten_with_its_price() -> None:
    index = PriceIndex()
    index.put(1, "BTCUSD", CROSS_UP, 100)
    index.match([("BTCUSD", 50)])
    index.put(1, "BTCUSD", CROSS_UP, 60)
    assert index.previous("BTCUSD") == 50, "replacing is not leaving"
    assert index.drop(1)
    assert index.watched() == []
    index.put(1, "BTCUSD", CROSS_UP, 100)
    assert fired(index, 101) == [], "no old price to come from"


def test_places_are_used_again() -> None:
    index = PriceIndex()
    sizes = set()
    for number in range(6):
        for slot in range(5000):
            index.put(slot, f"A{number}-{slot % 10}", slot % 5, slot)
        sizes.add(index.memory())
        for slot in range(5000):
            assert index.drop(slot)
        assert index.memory() < 5000 * 48 * 1.5 + 50_000, "no block outlives its thresholds"
    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda i: i.put(-1, "A", ABOVE, 1), "slot"),
        (lambda i: i.put(2**31, "A", ABOVE, 1), "slot"),
        (lambda i: i.put(1, "A", 5, 1), "operation"),
        (lambda i: i.put(1, "A", -1, 1), "operation"),
        (lambda i: i.put(1, "A", ABOVE, 10**40), "10\\*\\*37"),
        (lambda i: i.put(1, "A", ABOVE, -LIMIT - 1), "10\\*\\*37"),
        (lambda i: i.put(1, "A", ABOVE, 1.5), "integer"),
        (lambda i: i.put(1, "A", ABOVE, float("nan")), "integer"),
        (lambda i: i.put(1, "A", ABOVE, 1, -1), "slack"),
        (lambda i: i.put(1, "A", ABOVE, 1, LIMIT + 1), "slack"),
        (lambda i: i.match([("A", 1), ("A", 2**127)]), "price"),
        (lambda i: i.match([("A", 1), ("A", float("inf"))]), "integer"),
        (lambda i: i.set_previous("A", 10**40), "price"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(act: Any, text: str) -> None:
    index = PriceIndex()
    index.put(0, "A", ABOVE, 0)
    with pytest.raises(ValueError, match=text):
        act(index)
    assert (len(index), index.previous("A")) == (1, None)
