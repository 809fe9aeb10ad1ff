"""The sources of Polymarket on a real database, against a service that drops, lies, falls silent and lists late."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from b3os.store.triggers import TriggerRow
from services.master.sources.polymarket_api import UNKNOWN_S
from services.master.table import Table
from tests.emulators.polymarket import wallet_of
from tests.services.polymarket_case import Place, emulated


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    async with emulated(pg_url, redis_url) as found:
        yield found


async def test_a_trade_in_a_watched_market_runs_with_the_market_and_the_trade(place: Place) -> None:
    service = place.service
    condition = await service.market("rain", "Will it rain?")
    await service.market("snow")
    await place.publish("wf_1", "polymarket-market-trade", {"marketId": "rain"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
    await service.trade("snow")
    row = await service.trade("rain", size=20, price=0.4)
    await place.master.until(place.ran("wf_1", row["transactionHash"]))
    (result,) = await place.results("wf_1")
    assert result["trade"] == {**row, "usdcSize": 8.0}
    assert result["market"]["conditionId"] == condition
    assert (result["market"]["slug"], result["market"]["title"]) == ("rain", "Will it rain?")
    assert result["triggeredAt"].endswith("Z")


async def test_a_bet_of_a_user_runs_whether_he_took_or_made_the_offer(place: Place) -> None:
    service = place.service
    await service.market("rain")
    service.user("Ada")
    await place.publish("wf_1", "polymarket-user-bet", {"user": "Ada"})
    await place.publish("wf_2", "polymarket-user-bet", {"user": wallet_of("bob").upper().replace("X", "x", 1)})
    await place.master.until_seen(lambda: any("activity" in one.topics for one in service.clients))
    taken = await service.trade("rain", "Ada")
    made = await service.trade("rain", "bob", makers=("Ada", "eve"))
    await place.master.until(place.ran("wf_1", taken["transactionHash"], made["transactionHash"]))
    await place.master.until(place.ran("wf_2", made["transactionHash"]))
    assert {result["trade"]["side"] for result in await place.results("wf_1")} == {"BUY", "SELL"}


async def test_filters_let_only_what_they_name_through(place: Place) -> None:
    service, trade, bet = place.service, "polymarket-market-trade", "polymarket-user-bet"
    condition = await service.market("rain", "Will it RAIN?")
    await service.market("snow")
    wallet = service.user("ada")
    await place.publish("large", trade, {"marketId": condition.upper().replace("X", "x", 1), "minSize": "50"})
    await place.publish("sold", trade, {"marketId": "rain", "side": "SELL"})
    await place.publish("no", trade, {"marketId": "rain", "outcome": "no"})
    await place.publish("costly", bet, {"user": wallet, "minSize": 20})
    await place.publish("cheap", bet, {"user": wallet, "maxPrice": 0.3})
    await place.publish("dear", bet, {"user": wallet, "minPrice": "0.300001"})
    await place.publish("words", bet, {"user": wallet, "keywords": ["hail", "rain"]})
    await place.publish("named", bet, {"user": wallet, "marketIds": "snow"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
    one = (await service.trade("rain", size=50, price=0.4))["transactionHash"]
    two = (await service.trade("rain", size=49.99, price=0.3, side="SELL"))["transactionHash"]
    three = (await service.trade("snow", size=100, price=".5"))["transactionHash"]
    four = (await service.trade("rain", "bob", size=1, price=0.9, outcome="No"))["transactionHash"]
    wanted = {"large": [one], "sold": [two], "no": [four], "costly": [one, three], "cheap": [two]}
    wanted |= {"dear": [one, three], "words": [one, two], "named": [three]}
    for workflow, hashes in wanted.items():
        await place.master.until(place.ran(workflow, *hashes))
    await place.master.for_s(100)
    for workflow, hashes in wanted.items():
        assert await place.ran(workflow, *hashes)(), workflow


async def test_subscriptions_follow_the_triggers(place: Place) -> None:
    service = place.service
    for slug in ("rain", "snow"):
        await service.market(slug)
    await place.publish("wf_1", "polymarket-market-trade", {"marketId": "rain"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
    await place.publish("wf_2", "polymarket-market-trade", {"marketId": "snow"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain", "snow"))
    place.retire("wf_1")
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("snow"))
    assert service.connections == 1
    said = [json.loads(text).get("operation", "hello") for text in service.said]
    assert said == ["hello", "subscribe", "unsubscribe"]
    place.retire("wf_2")
    await place.master.step()
    assert not place.master.family.wanted()


async def test_more_assets_than_a_connection_may_have_go_to_several(place: Place) -> None:
    service = place.service
    slugs = [f"m{number}" for number in range(255)]
    for slug in slugs:
        await service.market(slug, is_told=False)
        await place.publish(slug, "polymarket-market-trade", {"marketId": slug})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens(*slugs))
    assert sorted(len(client.assets) for client in service.clients) == [10, 500]
    row = await service.trade("m254")
    await place.master.until(place.ran("m254", row["transactionHash"]))


async def test_two_fills_of_one_transaction_are_two_events_even_when_they_are_alike(place: Place) -> None:
    service = place.service
    await service.market("rain")
    service.user("ada")
    await place.publish("wf_1", "polymarket-user-bet", {"user": "ada"})
    await place.master.until_seen(lambda: bool(service.clients))
    row = await service.trade("rain", "bob", size=30, makers=("ada", "ada", "eve"))
    tx = row["transactionHash"]
    await place.master.until(place.ran("wf_1", tx, tx))
    await place.change_master()
    await place.master.for_s(200)
    assert await place.ran("wf_1", tx, tx)()


async def test_a_market_that_polymarket_does_not_know_is_told_and_taken_back(place: Place) -> None:
    service = place.service
    await place.publish("wf_1", "polymarket-market-trade", {"marketId": "rain"})
    await place.publish("wf_2", "polymarket-user-bet", {"user": "ada"})
    await place.publish("wf_3", "polymarket-market-close", {"marketId": "rain"})
    await place.publish("wf_4", "polymarket-market-close", {})
    for workflow in ("wf_1", "wf_3"):
        await place.master.until(place.told(workflow, "has no market rain: check its condition id or slug"))
    await place.master.until(place.told("wf_2", "has no user named ada"))
    assert await place.told("wf_4", "")()
    assert "rain" not in str(place.master.errors)
    await service.market("rain")
    service.user("ada")
    for workflow in ("wf_1", "wf_2", "wf_3"):
        await place.master.until(place.told(workflow, ""))
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
    row = await service.trade("rain", "ada")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))
    await place.master.until(place.ran("wf_2", row["transactionHash"]))


async def test_a_market_that_nobody_asks_for_any_more_is_not_looked_up(place: Place) -> None:
    await place.publish("wf_1", "polymarket-market-close", {"marketId": "rain"})
    await place.publish("wf_2", "polymarket-market-close", {})
    await place.master.until(place.told("wf_1", "has no market rain"))
    place.retire("wf_1")
    before = len(place.service.called("/markets/slug/rain"))
    await place.master.for_s(UNKNOWN_S + 5)
    assert len(place.service.called("/markets/slug/rain")) == before


async def test_a_name_of_two_users_is_told(place: Place) -> None:
    place.service.user("ada")
    place.service.user("ADA", wallet=wallet_of("another"))
    await place.publish("wf_1", "polymarket-user-bet", {"user": "@Ada"})
    await place.master.until(place.told("wf_1", "several users named ada: give the address"))


async def test_the_key_of_an_account_finds_the_wallet_that_it_trades_with(place: Place) -> None:
    eoa = "0x" + "ab" * 20
    await place.service.market("rain")
    place.service.user("ada", eoa=eoa)
    await place.publish("wf_1", "polymarket-user-bet", {"user": eoa})
    await place.master.until_seen(lambda: bool(place.service.clients))
    row = await place.service.trade("rain", "ada")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))


async def test_a_name_that_changes_hands_stays_with_the_wallet_it_named_first(place: Place) -> None:
    service = place.service
    await service.market("rain")
    service.user("ada")
    await place.publish("wf_1", "polymarket-user-bet", {"user": "ada"})
    await place.master.until_seen(lambda: bool(service.clients))
    first = (await service.trade("rain", "ada"))["transactionHash"]
    await place.master.until(place.ran("wf_1", first))
    service.profiles = []
    service.user("ada", wallet=wallet_of("thief"))
    await place.change_master()
    await place.master.until_seen(lambda: bool(service.clients))
    await service.trade("rain", "thief")
    last = (await service.trade("rain", "ada"))["transactionHash"]
    await place.master.until(place.ran("wf_1", first, last))


async def test_a_trade_that_was_passed_over_does_not_run_when_a_later_version_wants_it(place: Place) -> None:
    service, now = place.service, int(time.time())
    since_ms, trade = (now - 5000) * 1000, "polymarket-market-trade"
    for slug in ("rain", "snow"):
        await service.market(slug)
    await service.trade("rain", size=100, at_s=now - 4000)
    await place.publish("wf_1", trade, {"marketId": "rain", "minSize": 500}, since_ms=since_ms)
    await place.publish("wf_2", trade, {"marketId": "snow"})
    large = (await service.trade("rain", size=600))["transactionHash"]
    await place.master.until(place.ran("wf_1", large))
    service.fault("fail", path="/markets/slug/rain", times=2)
    await place.publish("wf_1", trade, {"marketId": "rain", "minSize": 50}, since_ms=since_ms)
    other = (await service.trade("snow"))["transactionHash"]  # the places of all are stored with it
    await place.master.until(place.ran("wf_2", other))
    small = (await service.trade("rain", size=70))["transactionHash"]
    await place.master.until(place.ran("wf_1", large, small))
    await place.master.for_s(100)
    assert await place.ran("wf_1", large, small)()


async def test_a_name_that_changes_hands_stays_through_a_new_version(place: Place) -> None:
    service, since_ms = place.service, int(time.time() - 600) * 1000
    await service.market("rain")
    service.user("ada")
    await place.publish("wf_1", "polymarket-user-bet", {"user": "ada"}, since_ms=since_ms)
    first = (await service.trade("rain", "ada"))["transactionHash"]
    await place.master.until(place.ran("wf_1", first))
    service.profiles = []
    service.user("ada", wallet=wallet_of("thief"))
    await place.publish("wf_1", "polymarket-user-bet", {"user": "ada", "minSize": 1}, since_ms=since_ms)
    await place.master.for_s(5)
    await service.trade("rain", "thief")
    last = (await service.trade("rain", "ada"))["transactionHash"]
    await place.master.until(place.ran("wf_1", first, last))


async def test_a_version_that_turns_to_another_market_hears_no_more_of_the_one_before(place: Place) -> None:
    service, trade = place.service, "polymarket-market-trade"
    await service.market("rain")
    for workflow in ("wf_1", "wf_2"):
        await place.publish(workflow, trade, {"marketId": "rain"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
    await place.publish("wf_1", trade, {"marketId": "nobody-knows-it"})
    row = await service.trade("rain")
    await place.master.until(place.ran("wf_2", row["transactionHash"]))
    assert await place.results("wf_1") == []


async def test_nothing_from_before_a_trigger_fires_it(place: Place) -> None:
    service, now = place.service, int(time.time())
    await service.market("rain", at_s=now - 100)
    await service.trade("rain", at_s=now - 60)
    for number, kind in enumerate(["polymarket-market-trade", "polymarket-new-market"]):
        await place.publish(f"wf_{number}", kind, {"marketId": "rain"}, since_ms=(now - 30) * 1000)
    row = await service.trade("rain")
    await place.master.until(place.ran("wf_0", row["transactionHash"]))
    await place.master.for_s(200)
    assert await place.ran("wf_0", row["transactionHash"])()
    assert await place.results("wf_1") == []


async def test_new_and_closed_markets_run_once_each(place: Place) -> None:
    service = place.service
    await service.market("rain")
    await place.publish("new", "polymarket-new-market", {"keywords": "snow, hail"})
    await place.publish("closed", "polymarket-market-close", {})
    await place.publish("mine", "polymarket-market-close", {"marketId": "rain"})
    await place.master.until_seen(lambda: any(client.has_news for client in service.clients))
    condition = await service.market("big-snow", "Will it SNOW?")
    await service.market("wind")
    await service.settle("wind", "No")
    await service.settle("rain", "Yes")

    async def is_done() -> bool:
        return [len(await place.results(name)) for name in ("new", "closed", "mine")] == [1, 2, 1]

    await place.master.until(is_done)
    (new,), (mine,) = await place.results("new"), await place.results("mine")
    assert new["market"]["conditionId"] == condition
    assert new["market"]["outcomes"] == ["Yes", "No"]
    assert new["market"]["tokenIds"] == json.loads(service.markets["big-snow"]["clobTokenIds"])
    assert new["event"]["events"][0]["title"] == "Event of big-snow"
    assert (mine["market"]["slug"], mine["market"]["winner"]) == ("rain", "Yes")
    winners = {one["market"]["slug"]: one["market"]["winner"] for one in await place.results("closed")}
    assert winners == {"rain": "Yes", "wind": "No"}
    await place.change_master()
    await place.master.for_s(300)
    assert await is_done()


async def test_how_the_sources_fare_is_told_without_names(place: Place) -> None:
    await place.service.market("rain")
    await place.publish("wf_1", "polymarket-market-trade", {"marketId": "rain"})
    await place.publish("wf_2", "polymarket-user-bet", {"user": "nobody"})
    await place.publish("wf_3", "polymarket-new-market", {})
    await place.master.for_s(5)
    lag, detail = place.master.family.trades.report()
    assert lag.endswith(" s")
    socket = {"assets": 2, "problem": None}
    assert detail == {"watched": 1, "unknown": 0, "awaited": 0, "gaps": 0, "socket": socket}
    assert place.master.family.bets.report()[1]["unknown"] == 1
    assert place.master.family.markets.report()[1] == {"awaited": 0, "gaps": 0, "socket": socket}


async def test_a_trade_costs_the_triggers_of_its_market_however_many_others_there_are(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, asked, look = place.service, Counter[str](), Table.row

    def row(table: Table, slot: int) -> TriggerRow | None:
        found = look(table, slot)
        asked[found.workflow_id if found else ""] += 1
        return found

    monkeypatch.setattr(Table, "row", row)
    await service.market("rain")
    await service.market("snow")
    await place.publish("wf_1", "polymarket-market-trade", {"marketId": "rain"})
    for number in range(100):
        await place.publish(f"other_{number}", "polymarket-market-trade", {"marketId": "snow"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain", "snow"))
    traded = await service.trade("rain")
    await place.master.until(place.ran("wf_1", traded["transactionHash"]))
    assert set(asked) == {"wf_1"}
