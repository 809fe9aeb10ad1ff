"""What a Polymarket trigger may say, which rows are trades, what makes one single, and how a list is read whole."""

import json
import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os.detect.catalog import check_trigger
from b3os.detect.polymarket import (
    MARKET_CLOSE,
    MARKET_TRADE,
    NEW_MARKET,
    USER_BET,
    parse_market_watch,
    parse_trade_watch,
)
from b3os.detect.polymarket_answers import channel_events, list_of, object_in, trader_in
from b3os.detect.polymarket_markets import market_of, time_ms
from b3os.detect.polymarket_place import Limits, Walk, further_up, step
from b3os.detect.polymarket_trades import is_wanted, numbered, read_rows, trade_of
from b3os.errors import BadInput

NOW = 1_790_000_000
CONDITION, WALLET = "0x" + "c0" * 32, "0x" + "ab" * 20
ROW = {
    "proxyWallet": WALLET, "side": "BUY", "asset": "7" * 70, "conditionId": CONDITION, "size": 10, "price": 0.4,
    "timestamp": NOW, "title": "Will it rain?", "slug": "rain", "eventSlug": "weather", "outcome": "Yes",
    "transactionHash": "0x" + "1a" * 32,
}  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {**ROW, **changes}


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        (MARKET_TRADE, {}, "`marketId` is a condition id"),
        (MARKET_TRADE, {"marketId": "0x12"}, "`marketId` is a condition id"),
        (MARKET_TRADE, {"marketId": "Will it rain?"}, "`marketId` is a condition id"),
        (MARKET_TRADE, {"marketId": "../trades"}, "`marketId` is a condition id"),
        (MARKET_TRADE, {"marketId": ["rain"]}, "`marketId` is a condition id"),
        (MARKET_TRADE, {"marketId": "rain", "side": "HOLD"}, "`side` is BUY or SELL"),
        (MARKET_TRADE, {"marketId": "rain", "minSize": "NaN"}, "`minSize` is a number from 0"),
        (MARKET_TRADE, {"marketId": "rain", "minSize": float("nan")}, "`minSize` is a number from 0"),
        (MARKET_TRADE, {"marketId": "rain", "minSize": float("inf")}, "`minSize` is a number from 0"),
        (MARKET_TRADE, {"marketId": "rain", "minSize": -1}, "`minSize` is a number from 0"),
        (MARKET_TRADE, {"marketId": "rain", "minSize": True}, "`minSize` is a number from 0"),
        (MARKET_TRADE, {"marketId": "rain", "minSize": "9" * 999}, "`minSize` is a number from 0"),
        (MARKET_TRADE, {"marketId": "rain", "outcome": 1}, "`outcome` is a text"),
        (USER_BET, {}, "`user` is an address"),
        (USER_BET, {"user": WALLET[:-1]}, "`user` is an address"),
        (USER_BET, {"user": "a/b"}, "`user` is an address"),
        (USER_BET, {"user": "ada", "minPrice": 1.01}, "`minPrice` is a number from 0 to 1"),
        (USER_BET, {"user": "ada", "minPrice": 0.6, "maxPrice": 0.5}, "`minPrice` is above `maxPrice`"),
        (USER_BET, {"user": "ada", "marketIds": ["no market!"]}, "`marketIds` is a condition id"),
        (USER_BET, {"user": "ada", "keywords": [1]}, "`keywords` is a list of texts"),
        (USER_BET, {"user": "ada", "keywords": ["a"] * 101}, "`keywords` has at most 100"),
        (NEW_MARKET, {"keywords": {}}, "`keywords` is a list of texts"),
        (MARKET_CLOSE, {"marketId": "?"}, "`marketId` is a condition id"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(kind: str, payload: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_trigger(kind, payload)


def test_names_and_numbers_are_read_as_people_write_them() -> None:
    assert parse_trade_watch(MARKET_TRADE, {"marketId": f" {CONDITION.upper().replace('X', 'x')} "}).ref == CONDITION
    bet = parse_trade_watch(
        USER_BET, {"user": "@Ada L", "minSize": "0.10", "side": "sell", "keywords": "Rain, ,SNOW", "maxPrice": ""}
    )
    assert (bet.ref, bet.side, bet.min_size, bet.keywords) == ("ada l", "SELL", Decimal("0.1"), ("rain", "snow"))
    assert bet.max_price is None
    assert parse_market_watch(MARKET_CLOSE, {"marketId": ""}).ref == ""
    assert parse_market_watch(NEW_MARKET, {"marketId": "ignored"}).ref == ""


@pytest.mark.parametrize(
    "bad",
    [
        {"price": 1.0001}, {"price": "NaN"}, {"price": None}, {"price": -0.1}, {"size": float("nan")}, {"size": "1e9"},
        {"size": float("inf")}, {"side": "buy"}, {"timestamp": NOW + 4000}, {"timestamp": 12}, {"timestamp": None},
        {"transactionHash": "0x1"}, {"proxyWallet": ""}, {"conditionId": 1}, {"asset": "0xff"},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_no_trade(bad: dict[str, Any]) -> None:
    assert trade_of(row(), NOW) is not None
    assert trade_of(row(**bad), NOW) is None


def test_rows_are_read_however_the_numbers_are_written() -> None:
    found = trade_of(row(size="12", price=".48", timestamp=str(NOW * 1000), proxyWallet=WALLET.upper()), NOW)
    assert found is not None
    assert (found.size, found.price, found.at_s, found.user) == (12, Decimal("0.48"), NOW, WALLET)


def test_what_is_no_json_spoils_only_itself() -> None:
    text = json.dumps([row(size=float("nan")), row(), 7, None, row(bio="\ud800")])
    found = read_rows(text.encode() if "\ud800" not in text else text.encode(errors="surrogatepass"), NOW)
    assert [one is not None for one in found] == [False, True, False, False, True]
    for bad in (b"{}", b"", b"[1", b"[" * 100_000, b"\xff"):
        with pytest.raises(BadInput):
            list_of(bad)
    assert object_in(b'{"a": 1}') == {"a": 1}
    for bad in (b"{},{}", b"[]", b""):
        with pytest.raises(BadInput):
            object_in(bad)


def test_alike_fills_are_numbered_and_others_know_themselves() -> None:
    rows = [row(), row(), row(price=0.40000000001), row(size=11), row(proxyWallet="0x" + "cd" * 20)]
    trades = [trade for one in rows if (trade := trade_of(one, NOW)) is not None]
    names = [name for name, _ in numbered(trades)]
    assert len(set(names)) == len(rows)
    assert [name.rpartition(":")[2] for name in names] == ["0", "1", "2", "0", "0"]  # a division left the third's price
    assert sorted(names) == sorted(name for name, _ in numbered(reversed(trades)))


def test_a_size_is_of_shares_in_a_market_and_of_dollars_of_a_user() -> None:
    trade = trade_of(row(size=10, price=0.4), NOW)
    assert trade is not None
    for least, market, user in ((4, True, True), (4.01, True, False), (10, True, False), (10.01, False, False)):
        assert is_wanted(parse_trade_watch(MARKET_TRADE, {"marketId": "rain", "minSize": least}), trade) is market
        assert is_wanted(parse_trade_watch(USER_BET, {"user": "ada", "minSize": least}), trade) is user


def test_sockets_tell_whom_a_trade_concerns() -> None:
    told = {
        "event_type": "last_trade_price",
        "market": CONDITION.upper(),
        "transaction_hash": "0xAB",
        "timestamp": f"{NOW}123",
    }
    other = {"event_type": "price_change", "market": "m"}
    for said in (told, [other, told, {"event_type": "last_trade_price", "market": None}]):
        events = list(channel_events(json.dumps(said).encode(), "last_trade_price"))
        assert events == [("last_trade_price", CONDITION, "0xab", NOW)]
    assert list(channel_events(json.dumps(other).encode(), "last_trade_price")) == []
    live = {
        "topic": "activity",
        "type": "trades",
        "payload": {"proxyWallet": WALLET.upper(), "transactionHash": "0xAB"},
    }
    assert trader_in(json.dumps(live).encode()) == (WALLET, "0xab", 0)
    assert trader_in(b'{"topic": "comments", "payload": {}}') is None


def test_markets_are_read_from_the_texts_that_gamma_puts_lists_into() -> None:
    found = market_of(
        {"conditionId": CONDITION, "slug": "Rain", "outcomes": '["Yes", "No"]', "outcomePrices": '["0", "1"]',
         "clobTokenIds": '["1", "2"]', "closed": True, "createdAt": "2026-01-01T00:00:00.5Z",
         "closedTime": "2026-01-02 00:00:00+00"}, NOW * 1000,
    )  # fmt: skip
    assert found is not None
    assert (found.slug, found.tokens, found.outcomes, found.winner) == ("rain", ("1", "2"), ("Yes", "No"), "No")
    assert found.closed_ms - found.created_ms == 86_400_000 - 500
    assert [time_ms(bad) for bad in (None, 7, "", "soon", "2026-13-01T00:00:00Z")] == [0] * 5
    assert market_of({"conditionId": "0x1"}, NOW) is None
    assert market_of({"conditionId": CONDITION, "createdAt": "2999-01-01T00:00:00Z"}, NOW * 1000) is None


TIMES = st.lists(st.integers(0, 12), max_size=60)


@given(TIMES, st.integers(0, 12), st.integers(1, 6), st.integers(0, 10**6))
def test_a_list_that_grows_while_it_is_read_is_taken_whole(times: list[int], floor: int, page: int, seed: int) -> None:
    """Entries are (time, number), newest first; each moment is taken from one page, once, with all that it had."""
    chance, limits = random.Random(seed), Limits(page=page, further=page, largest=128, deepest=10**6)
    entries = sorted(enumerate(times), key=lambda one: -one[1])
    wanted = {number for number, at in entries if at >= floor}
    walk, taken = Walk(floor, page), []
    for _ in range(1000):
        shown = entries[walk.offset : walk.offset + walk.limit]
        found = step(walk, [at for _, at in shown], limits)
        taken += [shown[number][0] for number in found.taken]
        if found.is_last:
            break
        walk = found.walk
        if chance.random() < 0.5:  # something newer pushes all of it down
            entries.insert(0, (-1 - len(entries), 13))
    assert found.is_last
    assert not found.is_cut
    assert sorted(number for number in taken if number >= 0) == sorted(wanted)


DEEP = Limits(page=4, further=4, largest=8, deepest=20, has_window=True)


@pytest.mark.parametrize("has_window", [True, False])
def test_a_list_is_read_by_time_where_pages_go_no_deeper_and_a_cut_is_told(has_window: bool) -> None:
    """A service without windows passes `until` over: then what its pages show is all."""
    walk, taken, times = Walk(1, 4), [], list(range(100, 0, -1))
    for _ in range(200):
        assert walk.offset <= DEEP.deepest
        listed = [at for at in times if not has_window or walk.until is None or at <= walk.until]
        shown = listed[walk.offset : walk.offset + walk.limit]
        found = step(walk, shown, DEEP)
        taken += [shown[number] for number in found.taken]
        if found.is_last:
            break
        walk = found.walk
    assert found.is_cut is not has_window
    assert taken == times[: len(taken)]
    assert (len(taken) == 100) is has_window


def test_a_page_that_is_refused_is_no_end_while_time_goes_on() -> None:
    refused = further_up(Walk(0, 4, offset=18, ceiling=70, top=100), DEEP)
    assert (refused.walk.offset, refused.walk.until, refused.walk.ceiling, refused.is_last) == (0, 70, 70, False)
    assert further_up(refused.walk, DEEP).is_cut
    assert further_up(Walk(0, 4, offset=18), DEEP).is_cut
    assert further_up(Walk(0, 4, offset=18, ceiling=70), msgspec.structs.replace(DEEP, has_window=False)).is_cut


def test_an_entry_without_a_time_ends_nothing() -> None:
    times: list[int | None] = [9, None, 8, 1, None]
    found = step(Walk(7, 5), times, Limits(page=5, further=5, largest=10, deepest=100))
    assert found.taken == [0, 2]
    assert step(Walk(7, 5), [None] * 5, Limits(page=5, further=5, largest=5, deepest=100)).is_last is False
