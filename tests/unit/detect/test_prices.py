"""Price triggers: payloads of both generations to exact thresholds, rows and ticks to matches."""

import contextlib
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups.price_index import ABOVE, CROSS_DOWN, CROSS_UP, EQUAL, LIMIT
from b3os.detect.catalog import check_trigger
from b3os.detect.price_matcher import PriceMatcher, PriceTick
from b3os.detect.prices import PRICE_TYPE, PriceWatch, parse_price, parse_price_watch, price_number
from b3os.errors import BadInput

UNIT = 10**18


class Row(msgspec.Struct, frozen=True):
    workflow_id: str
    payload: dict[str, Any]
    node_id: str = "root"
    version: int = 1


def row(workflow_id: str, target: Any = 100, operation: str = "above", **more: Any) -> Row:
    return Row(workflow_id, {"asset": "BTCUSD", "targetPrice": target, "operation": operation, **more})


def ticks(*prices: int) -> list[PriceTick]:
    return [PriceTick("BTCUSD", price * UNIT, at_ns=number) for number, price in enumerate(prices)]


class Watched(PriceMatcher[Row]):
    """A matcher that is given rows; the slot of a workflow is its letter."""

    def __init__(self) -> None:
        self.known: dict[int, Row] = {}
        super().__init__(self.known.get)

    def watch(self, row: Row) -> None:
        self.known[ord(row.workflow_id)] = row
        self.put(ord(row.workflow_id), row.payload)


def fired(matcher: Watched, *prices: int) -> list[tuple[str, int]]:
    matches, _ = matcher.match(ticks(*prices))
    return [(match.row.workflow_id, match.tick.at_ns) for match in matches]


@pytest.mark.parametrize(
    ("payload", "watch"),
    [
        (
            {"asset": "BTCUSD", "targetPrice": 64210.5, "operation": "cross-up", "maxTriggers": "3"},
            PriceWatch("BTCUSD", CROSS_UP, 642105 * UNIT // 10, 0, 3),
        ),
        (
            {"asset": "eth", "condition": "cross-down", "threshold": "0.1", "maxTriggers": "unlimited"},
            PriceWatch("ETHUSD", CROSS_DOWN, UNIT // 10),
        ),
        (
            {"asset": "btc/usd", "targetPrice": "1e3", "operation": "above", "hysteresis": 2, "maxTriggers": ""},
            PriceWatch("BTCUSD", ABOVE, 1000 * UNIT, 2 * UNIT),
        ),
        ({"asset": "BTCUSDMARK", "targetPrice": 0, "operation": "equal"}, PriceWatch("BTCUSDMARK", EQUAL, 0)),
    ],
)
def test_payloads_of_every_generation(payload: dict[str, Any], watch: PriceWatch) -> None:
    assert parse_price_watch(payload) == watch
    check_trigger(PRICE_TYPE, payload)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"asset": ""}, 400345),
        ({"asset": 7}, 400345),
        ({"asset": "BTC USD; drop"}, 400345),
        ({"asset": "A" * 65}, 400345),
        ({"targetPrice": None}, 400346),
        ({"targetPrice": "NaN"}, 400346),
        ({"targetPrice": float("nan")}, 400346),
        ({"targetPrice": float("inf")}, 400346),
        ({"targetPrice": "-Infinity"}, 400346),
        ({"targetPrice": 10**40}, 400346),
        ({"targetPrice": "1e40"}, 400346),
        ({"targetPrice": "1e999"}, 400346),
        ({"targetPrice": "9" * 64}, 400346),
        ({"targetPrice": "1e-999"}, 400346),
        ({"targetPrice": "0.1234567890123456789"}, 400346),
        ({"targetPrice": "1_000"}, 400346),
        ({"targetPrice": "１"}, 400346),
        ({"targetPrice": True}, 400346),
        ({"targetPrice": {}}, 400346),
        ({"targetPrice": "10000000000000000000.1"}, 400346),
        ({"hysteresis": -1}, 400346),
        ({"hysteresis": "x"}, 400346),
        ({"operation": "sideways"}, 400347),
        ({"operation": None}, 400347),
        ({"operation": ["above"]}, 400347),
        ({"maxTriggers": 0}, 400348),
        ({"maxTriggers": "often"}, 400348),
        ({"maxTriggers": 1.5}, 400348),
    ],
)
def test_what_cannot_be_watched_is_refused(change: dict[str, Any], code: int) -> None:
    payload = {"asset": "BTCUSD", "targetPrice": 1, "operation": "above", **change}
    with pytest.raises(BadInput) as caught:
        check_trigger(PRICE_TYPE, payload)
    assert caught.value.code == code
    assert len(caught.value.message) < 200


@given(st.decimals(min_value=-(10**19), max_value=10**19, allow_nan=False, places=18))
def test_a_decimal_is_read_exactly(number: Decimal) -> None:
    assert parse_price(str(number), "targetPrice") == Fraction(number) * UNIT


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_json_number_is_the_decimal_that_it_is_written_as(number: float) -> None:
    exact = Fraction(repr(number)) * UNIT
    if exact.denominator == 1 and abs(exact) <= LIMIT:
        scaled = parse_price(number, "targetPrice")
        assert scaled == exact
        assert price_number(scaled) == number
    else:
        with pytest.raises(BadInput):
            parse_price(number, "targetPrice")


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadInput):
        assert parse_price(text, "targetPrice") == Fraction(text.strip()) * UNIT


def test_rows_come_change_and_go() -> None:
    matcher: Watched = Watched()
    matcher.watch(row("a"))
    matcher.watch(row("b", operation="cross-down"))
    assert (len(matcher), matcher.assets()) == (2, ["BTCUSD"])
    assert fired(matcher, 101, 99) == [("a", 0), ("b", 1)]
    matcher.watch(row("a", target=50))
    assert fired(matcher, 99) == [("a", 0)], "a new target is a new threshold"
    assert matcher.drop(ord("b"))
    assert not matcher.drop(ord("b"))
    assert fired(matcher, 200, 10) == []
    assert len(matcher) == 1


def test_a_new_version_with_the_same_trigger_does_not_fire_again() -> None:
    matcher: Watched = Watched()
    matcher.watch(row("a"))
    assert fired(matcher, 101) == [("a", 0)]
    matcher.watch(msgspec.structs.replace(row("a"), version=2))
    matches, rearmed = matcher.match(ticks(102, 100, 101))
    assert [(match.row.version, match.tick.at_ns) for match in matches] == [(2, 2)]
    assert [one.workflow_id for one in rearmed] == ["a"]


def test_a_row_that_cannot_be_read_leaves_nothing_behind() -> None:
    matcher: Watched = Watched()
    matcher.watch(row("a"))
    with pytest.raises(BadInput):
        matcher.watch(row("a", target="NaN"))
    assert (len(matcher), fired(matcher, 101)) == (0, [])


def test_what_another_owner_stored_is_put_back() -> None:
    first: Watched = Watched()
    rows = [row("a"), row("b", operation="cross-up", target=120), row("c", operation="cross-up", hysteresis=5)]
    for one in rows:
        first.watch(one)
    matches, _ = first.match(ticks(99, 101))
    latched = [match.slot for match in matches if first.is_latched(match.slot)]
    second: Watched = Watched()
    for one in rows:
        second.watch(one)
    second.restore(first.previous(), [*latched, ord("z")])
    assert fired(second, 125, 99, 101) == [("b", 0), ("a", 2)], "c waits for 95"
