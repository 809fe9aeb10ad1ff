"""What Polymarket does wrong, one test each: nothing is lost, nothing runs twice, and nothing stops the others."""

import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from b3os import metrics
from b3os.errors import BadInput
from tests.emulators.polymarket import FAULTS
from tests.services.polymarket_case import Place, emulated

TRADE = "polymarket-market-trade"


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    """A market that is watched and subscribed to."""
    async with emulated(pg_url, redis_url) as found:
        service = found.service
        await service.market("rain", at_s=time.time() - 3600)
        await found.publish("wf_1", TRADE, {"marketId": "rain"}, since_ms=int(time.time() - 600) * 1000)
        await found.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
        yield found


async def test_trades_while_the_socket_was_gone_run(place: Place) -> None:
    service = place.service
    service.drop()
    rows = [await service.trade("rain") for _ in range(3)]
    await place.master.until(place.ran("wf_1", *(row["transactionHash"] for row in rows)))
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain"))
    assert any("without a close" in error for error in place.master.errors)


async def test_a_closed_socket_is_opened_again_and_subscribed(place: Place) -> None:
    await place.service.close(1011)
    await place.master.until_seen(lambda: place.service.connections == 2)
    await place.master.until_seen(lambda: place.service.subscribed() == place.service.tokens("rain"))


async def test_a_trade_that_no_socket_told_of_runs_within_a_poll(place: Place) -> None:
    row = await place.service.trade("rain", is_told=False)
    await place.master.for_s(16)
    assert await place.ran("wf_1", row["transactionHash"])()


async def test_a_trade_that_is_told_twice_runs_once(place: Place) -> None:
    row = await place.service.trade("rain")
    await place.service.repeat()
    await place.master.until(place.ran("wf_1", row["transactionHash"]))
    await place.service.repeat()
    await place.master.for_s(100)
    assert await place.ran("wf_1", row["transactionHash"])()


async def test_a_trade_that_is_told_before_it_is_listed_is_looked_for(place: Place) -> None:
    row = await place.service.trade("rain", is_listed=False)
    await place.master.for_s(5)
    assert place.master.family.trades.report()[1]["awaited"] == 1
    place.service.list_all()
    await place.master.for_s(2)
    assert await place.ran("wf_1", row["transactionHash"])()
    assert place.master.family.trades.report()[1]["awaited"] == 0


async def test_a_trade_that_is_listed_minutes_late_behind_newer_ones_runs(place: Place) -> None:
    service = place.service
    now = int(time.time())
    late = await service.trade("rain", is_listed=False, is_told=False, at_s=now - 200)
    newer = [await service.trade("rain", at_s=now - number) for number in range(20)]
    hashes = [row["transactionHash"] for row in newer]
    await place.master.until(place.ran("wf_1", *hashes))
    service.list_all()
    await place.master.until(place.ran("wf_1", late["transactionHash"], *hashes))


async def test_a_time_ahead_of_ours_hides_nothing(place: Place) -> None:
    service, now = place.service, int(time.time())
    ahead = await service.trade("rain", at_s=now + 3000)
    await place.master.until(place.ran("wf_1", ahead["transactionHash"]))
    row = await service.trade("rain")
    await place.master.until(place.ran("wf_1", ahead["transactionHash"], row["transactionHash"]))


async def test_a_trade_that_never_settles_does_not_run(place: Place) -> None:
    await place.service.trade("rain", is_listed=False)
    row = await place.service.trade("rain")
    await place.master.for_s(120)
    assert await place.ran("wf_1", row["transactionHash"])()
    assert place.master.family.trades.report()[1]["awaited"] == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"price": float("nan")}, {"size": "NaN"}, {"price": 1.5}, {"size": -1}, {"size": float("inf")},
        {"transactionHash": None}, {"timestamp": "soon"}, {"timestamp": 4_000_000_000}, {"side": "HOLD"},
        {"proxyWallet": 7}, {"price": True},
    ],
    ids=str,
)  # fmt: skip
async def test_a_row_that_makes_no_sense_is_counted_and_spoils_no_other(place: Place, bad: dict[str, object]) -> None:
    before = metrics.POLYMARKET_REFUSED.labels("trade")._value.get()
    await place.service.trade("rain", is_told=False)
    place.service.fills[-1] |= bad
    row = await place.service.trade("rain", bio="\x00 \ud800" if "price" in bad else "")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))
    assert metrics.POLYMARKET_REFUSED.labels("trade")._value.get() > before


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"event_type": "last_trade_price"}', "last_trade_price", "[" * 9999])
async def test_garbage_on_a_socket_is_passed_over(place: Place, text: str) -> None:
    await place.service.send(text)
    row = await place.service.trade("rain")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))
    assert place.service.connections == 1


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_call_that_fails_is_made_again(place: Place, kind: str) -> None:
    place.service.fault(kind, path="/trades", times=2)
    row = await place.service.trade("rain")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))


async def test_a_market_that_is_never_answered_holds_up_no_other(place: Place) -> None:
    service = place.service
    bad = await service.market("bad")
    await place.publish("wf_2", TRADE, {"marketId": "bad"})
    await place.master.until_seen(lambda: service.subscribed() == service.tokens("rain", "bad"))
    service.fault("fail", path="/trades", about=bad, times=10**6)
    for _ in range(2):
        row = await service.trade("rain")
        await place.master.for_s(20)
        assert row["transactionHash"] in str(await place.results("wf_1"))


async def test_a_limit_is_kept_for_as_long_as_it_says(place: Place) -> None:
    service, master = place.service, place.master
    service.fault("limit", path="/trades", retry_after=30)
    await service.trade("rain")
    await master.until_seen(lambda: not service._faults[0]["times"])
    before = len(service.called("/trades"))
    await master.for_s(29)
    assert len(service.called("/trades")) == before
    await master.for_s(3)
    assert len(service.called("/trades")) > before


async def test_a_machine_that_is_shut_out_tells_the_triggers_until_it_is_let_in(place: Place) -> None:
    place.service.fault("fail", path="/trades", status=403, times=2)
    await place.master.until(place.told("wf_1", "refuses this machine (HTTP 403)"))
    await place.master.until(place.told("wf_1", ""))


async def test_a_failing_gamma_holds_up_no_trade_of_a_known_market(place: Place) -> None:
    place.service.fault("fail", path="/markets", times=10**6)
    await place.publish("wf_2", TRADE, {"marketId": "snow"})
    row = await place.service.trade("rain")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))
    await place.change_master()
    row_2 = await place.service.trade("rain")
    await place.master.until(place.ran("wf_1", row["transactionHash"], row_2["transactionHash"]))


async def test_a_second_name_of_a_market_gets_what_was_traded_before_it_was_known(place: Place) -> None:
    service, now = place.service, int(time.time())
    first = (await service.trade("rain", at_s=now - 1000))["transactionHash"]
    await place.master.for_s(70)
    service.fault("fail", path="/markets", times=2)
    condition = service.markets["rain"]["conditionId"]
    await place.publish("wf_2", TRADE, {"marketId": condition}, since_ms=(now - 2000) * 1000)
    last = (await service.trade("rain"))["transactionHash"]
    await place.master.until(place.ran("wf_2", first, last))
    assert await place.ran("wf_1", last)()
    await place.change_master()
    await place.master.for_s(100)
    assert await place.ran("wf_2", first, last)()


@pytest.mark.parametrize("how", ["silence", "deafen"])
async def test_a_socket_that_tells_nothing_is_left_for_a_new_one(place: Place, how: str) -> None:
    getattr(place.service, how)(True)
    before = place.service.connections
    await place.master.until_seen(lambda: place.service.connections > before)
    assert place.master.clock < 200
    assert any(("ping" if how == "silence" else "no news") in error for error in place.master.errors)


async def test_pings_are_texts_and_keep_the_connection(pg_url: str, redis_url: str) -> None:
    async with emulated(pg_url, redis_url, patience_s=0.5) as place:
        service = place.service
        await service.market("rain")
        await place.publish("wf_1", TRADE, {"marketId": "rain"})
        await place.master.until_seen(lambda: service.pings > 50)
        assert service.connections == 1


async def test_downtime_is_caught_up_page_by_page(place: Place) -> None:
    service = place.service
    await place.master.for_s(20)
    await place.master.give_back()
    now = int(time.time())
    # Many in one second: more than a page holds.
    rows = [await service.trade("rain", at_s=now + number // 30) for number in range(100)]
    place.master = place.start("next")
    await place.master.until(place.ran("wf_1", *(row["transactionHash"] for row in rows)))
    assert len(service.called("/trades")) > 10


async def test_downtime_that_is_deeper_than_pages_go_is_caught_up_by_time(place: Place) -> None:
    service, now = place.service, int(time.time())
    service.deepest = 20
    await place.master.for_s(20)
    await place.master.give_back()
    rows = [await service.trade("rain", at_s=now + number // 2) for number in range(150)]
    place.master = place.start("next")
    await place.master.until(place.ran("wf_1", *(row["transactionHash"] for row in rows)))
    assert place.master.family.trades.report()[1]["gaps"] == 0


async def test_what_is_too_deep_for_markets_together_is_read_of_each(place: Place) -> None:
    service, now = place.service, int(time.time())
    service.deepest, service.has_windows = 20, False
    await service.market("snow")
    await place.publish("wf_2", TRADE, {"marketId": "snow"})
    await place.master.for_s(20)
    await place.master.give_back()
    rain = [await service.trade("rain", at_s=now + number) for number in range(16)]
    snow = [await service.trade("snow", at_s=now + number) for number in range(16)]
    place.master = place.start("next")
    await place.master.until(place.ran("wf_1", *(row["transactionHash"] for row in rain)))
    await place.master.until(place.ran("wf_2", *(row["transactionHash"] for row in snow)))
    assert place.master.family.trades.report()[1]["gaps"] == 0


async def test_what_no_page_shows_is_told_as_a_gap_and_what_follows_runs(place: Place) -> None:
    service, now = place.service, int(time.time())
    service.deepest, service.has_windows = 20, False
    await place.master.for_s(20)
    await place.master.give_back()
    rows = [await service.trade("rain", at_s=now - 100 + number) for number in range(100)]
    place.master = place.start("next")
    await place.master.until_seen(lambda: place.master.family.trades.report()[1]["gaps"] == 1)
    rows.append(await service.trade("rain"))

    async def has_followed() -> bool:
        return rows[-1]["transactionHash"] in [one["trade"]["transactionHash"] for one in await place.results("wf_1")]

    await place.master.until(has_followed)
    assert 20 < len(await place.results("wf_1")) < 100


async def test_a_busy_market_is_not_read_deep_for_a_quiet_one(place: Place) -> None:
    service, now = place.service, int(time.time())
    await service.market("quiet")
    await place.publish("wf_2", TRADE, {"marketId": "quiet"}, since_ms=(now - 86400) * 1000)
    for number in range(500):
        await service.trade("rain", at_s=now - 80_000 + number, is_told=False)
    await place.master.for_s(60)
    assert max(int(call["fields"]["offset"][0]) for call in service.called("/trades")) < 50


async def test_every_user_is_read_however_busy_one_is(place: Place) -> None:
    service = place.service
    for number in range(10):
        service.user(f"u{number}")
        await place.publish(f"bets_{number}", "polymarket-user-bet", {"user": f"u{number}"})
    await place.master.until_seen(lambda: any(client.topics for client in service.clients))
    quiet = [await service.trade("rain", f"u{number}", is_told=False) for number in range(1, 10)]
    for _ in range(80):
        await service.trade("rain", "u0")
        await place.master.step()
    for number, row in enumerate(quiet, 1):
        assert await place.ran(f"bets_{number}", row["transactionHash"])()


async def test_a_market_that_gamma_lists_long_after_it_was_told_of_runs(place: Place) -> None:
    service = place.service
    await place.publish("new", "polymarket-new-market", {})
    await place.master.until_seen(lambda: any(client.has_news for client in service.clients))
    await service.market("hail", is_listed=False, at_s=time.time() - 7200)
    await place.master.for_s(60)
    assert await place.results("new") == []
    service.list_all()

    async def has_run() -> bool:
        return [one["market"]["slug"] for one in await place.results("new")] == ["hail"]

    await place.master.until(has_run)


async def test_a_look_for_markets_that_always_fails_holds_up_no_list(place: Place) -> None:
    service = place.service
    await place.publish("new", "polymarket-new-market", {})
    await place.publish("closed", "polymarket-market-close", {"marketId": "rain"})
    await place.master.until_seen(lambda: any(client.has_news for client in service.clients))
    await place.master.for_s(5)
    service.fault("fail", path="/markets", about="condition_ids", times=10**6)
    for number in range(3):
        await service.market(f"m{number}", is_listed=False)
    await service.market("hail", is_told=False)
    await service.settle("rain", is_told=False)

    async def have_run() -> bool:
        return [len(await place.results(name)) for name in ("new", "closed")] == [1, 1]

    began = place.master.clock
    await place.master.until(have_run)
    assert place.master.clock - began < 60
    assert place.master.family.markets.report()[1]["awaited"] == 3


async def test_lists_are_read_though_no_market_is_found_to_subscribe_to(place: Place) -> None:
    place.service.fault("fail", path="/markets", about="limit=1&", times=10**6)
    await place.publish("new", "polymarket-new-market", {})
    await place.service.market("hail")

    async def has_run() -> bool:
        return len(await place.results("new")) == 1

    began = place.master.clock
    await place.master.until(has_run)
    assert place.master.clock - began < 60


async def test_markets_that_no_socket_told_of_run_page_by_page(place: Place) -> None:
    service = place.service
    await place.publish("new", "polymarket-new-market", {})
    for number in range(250):
        await service.market(f"m{number}", is_told=False)

    async def have_run() -> bool:
        return len(await place.results("new")) == 250

    await place.master.until(have_run)


async def test_what_the_database_refused_is_admitted_once_it_is_back(place: Place) -> None:
    await place.pool.execute("alter table receipts rename to gone")
    row = await place.service.trade("rain")
    await place.master.until_seen(lambda: any("receipts" in error for error in place.master.errors))
    await place.pool.execute("alter table gone rename to receipts")
    await place.master.until(place.ran("wf_1", row["transactionHash"]))


@pytest.mark.parametrize("field", ["polymarket_channel_url", "polymarket_live_url"])
async def test_an_address_that_is_no_socket_stops_the_start(place: Place, field: str) -> None:
    place.settings = msgspec.structs.replace(place.settings, **{field: "http://x/"})
    with pytest.raises(BadInput, match=f"B3OS_{field.upper()}"):
        place.start("wrong")
