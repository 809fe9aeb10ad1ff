"""The price source on a real database, against an oracle that signs, drops, lies and falls silent."""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asyncpg import PostgresError

from b3os.detect.prices import OPERATIONS
from b3os.errors import B3osError, BadInput, StaleEpoch
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store import leases
from b3os.store.pool import Pool, open_pool
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter
from services.master.sources.prices import Prices
from services.master.table import Table
from tests.emulators.stork import SIGNER, STRANGER, Stork, quote, with_price
from tests.reference.prices import PriceIndexModel
from tests.store.rows import make_workflow
from tests.trigger_records import record

PLANS = Path(__file__).parent.parent / "emulators/plans"
UNIT = 10**18
LIMIT_S = 30.0


class Place:
    """An oracle, a database and a source between them."""

    def __init__(self, stork: Stork, pool: Pool, broker: Broker) -> None:
        self.stork = stork
        self.pool = pool
        self.broker = broker
        self.rows: list[TriggerRow] = []
        self.source = self.make()
        self.owner = "me"
        self.epoch = 0

    def make(self, **more: Any) -> Prices:
        settings = Settings(stork_url=self.stork.url, stork_key=self.stork.token, stork_signers=SIGNER)
        self.table = Table()
        made = Prices(settings, admitter=Admitter(self.pool, self.broker), pool=self.pool, table=self.table, **more)
        self.table.follow([made])
        for row in self.rows:
            self.tell(row)
        return made

    def tell(self, row: TriggerRow, *, active: bool = True) -> None:
        """Give the source's master a row as the store reads it."""
        kept: dict[str, Any] = {"version": row.version, "since_ms": row.active_since_ms, "active": active}
        self.table.apply(record(row.workflow_id, row.type, row.payload, **kept))

    async def watch(self, workflow: str, target: Any, operation: str = "cross-up", **more: Any) -> TriggerRow:
        """Publish a price trigger, and tell the source."""
        await make_workflow(self.pool, workflow)
        payload = {"asset": "BTCUSD", "targetPrice": target, "operation": operation, **more}
        since = time.time_ns() // 10**6
        row = TriggerRow("org_a", workflow, 1, "root", "token-price-cexes", payload, since)
        self.rows = [one for one in self.rows if one.workflow_id != workflow] + [row]
        self.tell(row)
        return row

    async def lease(self) -> None:
        epoch = await leases.acquire(self.pool, "prices", self.owner, 60)
        assert epoch is not None
        self.epoch = epoch

    async def poll_until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Poll as the master does, failures included, until something is so."""
        if not self.epoch:
            await self.lease()
        async with asyncio.timeout(LIMIT_S):
            while not await is_so():
                try:
                    await self.source.poll(self.epoch)
                except B3osError as error:
                    if isinstance(error, StaleEpoch):
                        raise
                    self.source.failed(error)

    async def subscribed(self, *assets: str, connection: int = 1) -> None:
        """Poll until the oracle's newest connection, which has at least this number, watches what we do."""
        wanted = set(assets or ("BTCUSD",))

        async def is_so() -> bool:
            clients = self.stork.clients
            return self.stork.connections >= connection and bool(clients) and clients[-1].assets == wanted

        await self.poll_until(is_so)

    async def say(self, *prices: str) -> None:
        """Send prices of BTCUSD and poll until the last of them is stored."""
        for price in prices:
            at_ns = await self.stork.tick({"BTCUSD": price})
        await self.stored(prices[-1], at_ns)

    @staticmethod
    async def poll_for_ever(source: Prices, epoch: int) -> None:
        """Poll until something is raised."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                await source.poll(epoch)

    async def stored(self, price: str, at_ns: int = 0) -> None:
        async def is_so() -> bool:
            query = (
                "select price from prices where asset = 'BTCUSD' and at >= to_timestamp($1) order by at desc limit 1"
            )
            last = await self.pool.fetchval(query, at_ns // 1000 / 10**6 - 1e-6)
            return last is not None and str(last) == price

        await self.poll_until(is_so)

    async def runs(self) -> list[tuple[str, float]]:
        """Every run: its workflow and price, in order."""
        rows = await self.pool.fetch(
            "select workflow_id, trigger_result from runs order by trigger_result->>'timestamp', workflow_id"
        )
        return [(row["workflow_id"], row["trigger_result"]["price"]) for row in rows]


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    stork = await Stork().start()
    pool = await open_pool(pg_url)
    broker = Broker(redis_url)
    found = Place(stork, pool, broker)
    yield found
    await found.source.forget()
    await broker.close()
    await pool.close()
    await stork.stop()


async def test_a_crossing_becomes_one_run_with_the_price_and_what_the_oracle_said(place: Place) -> None:
    await place.watch("wf_1", 64210.5)
    await place.subscribed()
    await place.say("64000", "64210.5", "64300", "64211")
    (row,) = await place.pool.fetch("select * from runs")
    result = row["trigger_result"]
    assert (result["price"], result["asset"]) == (64210.5, "BTCUSD")
    said = result["rawResponse"]
    assert said["price"] == "64210500000000000000000"
    assert said["stork_signed_price"]["public_key"] == SIGNER
    assert said["stork_signed_price"]["timestamped_signature"]["timestamp"] == said["timestamp"]
    assert result["timestamp"].endswith("Z")
    assert result["triggeredAt"] >= result["timestamp"][:19]
    assert row["trigger_source"] == "token-price-cexes"


async def test_every_operation_fires_at_its_own_ticks(place: Place) -> None:
    for operation in ("cross-up", "cross-down", "above", "below", "equal"):
        await place.watch(operation, 100, operation)
    await place.subscribed()
    await place.say("101", "99", "100", "101")
    assert await place.runs() == [
        ("above", 101.0), ("below", 99.0), ("cross-down", 99.0), ("cross-up", 100.0), ("equal", 100.0),
        ("above", 101.0),
    ]  # fmt: skip


async def test_a_dropped_socket_is_followed_by_a_subscription_and_no_second_crossing(place: Place) -> None:
    await place.watch("wf_1", 100)
    await place.subscribed()
    await place.say("99", "101")
    place.stork.drop()
    await place.subscribed()
    await place.say("102", "98", "103")
    assert await place.runs() == [("wf_1", 101.0), ("wf_1", 103.0)]
    assert place.stork.connections == 2


async def test_a_crossing_while_the_socket_was_gone_fires_once(place: Place) -> None:
    await place.watch("wf_1", 100)
    await place.subscribed()
    await place.say("99")
    place.stork.drop()
    await place.stork.tick({"BTCUSD": "101"})  # nobody hears it; the next connection begins with it
    await place.subscribed()
    await place.say("102")
    assert await place.runs() == [("wf_1", 101.0)]


async def test_subscriptions_follow_the_triggers(place: Place) -> None:
    await place.watch("wf_1", 100)
    await place.subscribed("BTCUSD")
    eth = await place.watch("wf_2", 3000, asset="ETHUSD")
    await place.subscribed("BTCUSD", "ETHUSD")
    place.tell(eth, active=False)
    await place.subscribed("BTCUSD")
    assert [said["type"] for said in place.stork.requests] == ["subscribe", "subscribe", "unsubscribe"]
    assert place.stork.connections == 1


@pytest.mark.parametrize("lie", ["forged", "tampered", "publishers", "not a number", "absurd", "old", "unsigned"])
async def test_a_price_that_is_not_believed_changes_nothing_and_spoils_no_other(place: Place, lie: str) -> None:
    await place.watch("wf_1", 100)
    await place.watch("wf_2", 2000, asset="ETHUSD")
    await place.subscribed("BTCUSD", "ETHUSD")
    await place.stork.tick({"ETHUSD": "1999"})
    await place.say("99")
    now = time.time_ns()
    bad = quote("BTCUSD", 500 * UNIT, now)
    bad = {
        "forged": quote("BTCUSD", 500 * UNIT, now, STRANGER),
        "tampered": with_price(bad, str(501 * UNIT)),
        "publishers": {**bad, "signed_prices": bad["signed_prices"][:2]},
        "not a number": with_price(bad, "NaN"),
        "absurd": quote("BTCUSD", 10**40, now),
        "old": quote("BTCUSD", 500 * UNIT, now - 60 * 10**9),
        "unsigned": {name: value for name, value in bad.items() if name != "stork_signed_price"},
    }[lie]
    await place.stork.send_quotes({"BTCUSD": bad, "ETHUSD": quote("ETHUSD", 2001 * UNIT, now)})
    await place.say("98")
    assert await place.runs() == [("wf_2", 2001.0)]
    assert await place.pool.fetchval("select max(price) from prices where asset = 'BTCUSD'") == 99


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "[1]", '{"type":"oracle_prices","data":[1]}', '{"type":"oracle_prices","data":{"BTCUSD":NaN}}',
     '{"type":"oracle_prices","data":{"BTCUSD":' + "[" * 100_000 + "]" * 100_000 + "}}",
     '{"type":"weather","data":{}}', '{"type":"subscribe","error":"unknown asset"}', "{" * 5000],
)  # fmt: skip
async def test_garbage_is_passed_over_on_the_same_connection(place: Place, text: str) -> None:
    await place.watch("wf_1", 100)
    await place.subscribed()
    await place.say("99")
    await place.stork.send(text)
    await place.say("101")
    assert await place.runs() == [("wf_1", 101.0)]
    assert place.stork.connections == 1


async def test_a_silent_oracle_is_left_for_a_new_connection(place: Place) -> None:
    place.source = place.make(stale_s=0.3)
    await place.watch("wf_1", 100)
    await place.subscribed()
    await place.say("99")
    place.stork.silence()

    async def is_new() -> bool:
        return place.stork.connections > 1

    await place.poll_until(is_new)
    place.stork.silence(False)
    await place.subscribed()
    await place.say("101")
    assert await place.runs() == [("wf_1", 101.0)]


async def test_another_master_goes_on_where_the_first_stopped(place: Place) -> None:
    await place.watch("crossing", 100)
    await place.watch("above", 100, "above")
    await place.watch("slack", 100, hysteresis=5)
    await place.subscribed()
    await place.say("99", "101")
    first, stale = place.source, place.epoch
    await leases.release(place.pool, "prices", "me")
    place.source, place.owner, place.epoch = place.make(), "you", 0
    await place.subscribed(connection=2)
    await place.say("102", "99", "103")
    assert await place.runs() == [
        ("above", 101.0), ("crossing", 101.0), ("slack", 101.0), ("above", 103.0), ("crossing", 103.0),
    ]  # fmt: skip
    await place.stork.tick({"BTCUSD": "50"})
    with pytest.raises(StaleEpoch):
        await place.poll_for_ever(first, stale)
    await first.forget()


async def test_a_trigger_that_the_next_master_hears_of_late_does_not_fire_again(place: Place) -> None:
    above = await place.watch("wf_1", 100, "above")
    await place.watch("wf_2", 5, asset="ETHUSD")
    await place.subscribed("BTCUSD", "ETHUSD")
    await place.say("101")
    await leases.release(place.pool, "prices", "me")
    await place.source.forget()
    place.rows = place.rows[1:]
    place.source, place.owner, place.epoch = place.make(), "you", 0
    await place.subscribed("ETHUSD", connection=2)
    place.tell(above)
    await place.subscribed("BTCUSD", "ETHUSD", connection=2)
    await place.say("102", "100", "103")
    assert await place.runs() == [("wf_1", 101.0), ("wf_1", 103.0)]


async def test_a_trigger_published_anew_has_not_fired_yet(place: Place) -> None:
    await place.watch("wf_1", 100, "above")
    await place.subscribed()
    await place.say("101")
    await leases.release(place.pool, "prices", "me")
    await place.source.forget()
    # Paused and resumed while nobody looked.
    place.rows[0] = msgspec.structs.replace(place.rows[0], active_since_ms=time.time_ns() // 10**6)
    place.source, place.owner, place.epoch = place.make(), "you", 0
    await place.subscribed(connection=2)
    await place.say("102")
    assert await place.runs() == [("wf_1", 101.0), ("wf_1", 102.0)]


async def test_a_crossing_that_began_long_before_the_trigger_is_not_its_own(place: Place) -> None:
    old = time.time_ns() - 3600 * 10**9
    await place.lease()
    position = {"prices": {"BTCUSD": [str(90 * UNIT), old]}}
    async with place.pool.acquire() as db:
        await leases.write_cursor(db, "prices", place.epoch, position)
    older = await place.watch("older", 100)
    place.rows[0] = msgspec.structs.replace(older, active_since_ms=old // 10**6 - 1)
    place.tell(place.rows[0])
    await place.watch("younger", 100)
    await place.subscribed()
    await place.say("105", "99", "106")
    assert await place.runs() == [("older", 105.0), ("older", 106.0), ("younger", 106.0)]


async def test_what_the_database_refused_is_admitted_once_it_is_back(place: Place) -> None:
    await place.watch("wf_1", 100)
    await place.watch("wf_2", 100, "above")
    await place.subscribed()
    await place.say("99")
    await place.pool.execute("alter table price_latches rename to gone")
    await place.stork.tick({"BTCUSD": "101"})
    await place.stork.tick({"BTCUSD": "99"})
    with pytest.raises(PostgresError, match="price_latches"):
        await place.poll_for_ever(place.source, place.epoch)
    assert await place.runs() == []
    await place.pool.execute("alter table gone rename to price_latches")
    await place.say("102")
    assert await place.runs() == [("wf_1", 101.0), ("wf_2", 101.0), ("wf_1", 102.0), ("wf_2", 102.0)]


async def test_a_wrong_key_is_named_and_never_shown(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = place.stork.token
    await place.watch("wf_1", 100)
    await place.lease()
    place.stork.token = "another"
    with pytest.raises(B3osError, match="401 to the handshake: is its key right") as refused:
        await place.source.poll(place.epoch)
    waits = [place.source.failed(refused.value)]
    place.stork.token, place.stork.is_limited = secret, True
    with pytest.raises(B3osError, match="429"):
        await place.source.poll(place.epoch)
    waits.append(place.source.failed(refused.value))
    assert waits == [0.25, 1.0]
    place.stork.is_limited = False
    await place.subscribed()
    assert secret not in caplog.text
    assert secret not in repr(refused.value)
    assert refused.value.__cause__ is None


async def test_without_a_key_the_source_is_not_wanted(place: Place) -> None:
    settings = Settings(stork_url=place.stork.url)
    source = Prices(settings, admitter=Admitter(place.pool, place.broker), pool=place.pool, table=place.table)
    source.put(0, await place.watch("wf_1", 100))
    assert list(source.wanted()) == []
    assert list(place.source.wanted()) == [place.source]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [(Settings(stork_signers="0x12"), "B3OS_STORK_SIGNERS"), (Settings(stork_url="http://x/"), "B3OS_STORK_URL")],
)
async def test_settings_that_cannot_be_meant_stop_the_start(place: Place, wrong: Settings, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        Prices(wrong, admitter=Admitter(place.pool, place.broker), pool=place.pool, table=place.table)


async def test_the_silent_plan_is_survived(place: Place) -> None:
    place.source = place.make(stale_s=0.3)
    plan = json.loads((PLANS / "silence.json").read_text())
    plan["steps"] = [{"wait_s": 0.7} if "wait_s" in step else step for step in plan["steps"]]
    await place.watch("wf_1", 100)
    playing = asyncio.create_task(place.stork.play(plan))
    await place.stored("102")
    await playing
    assert len(await place.runs()) == 1


async def misfortune(place: Place, kind: str) -> None:
    """Something that happens between two prices."""
    connections = place.stork.connections
    match kind:
        case "drop":
            place.stork.drop()
            await place.subscribed(connection=connections + 1)
        case "close":
            await place.stork.close(1011)
            await place.subscribed(connection=connections + 1)
        case "takeover":
            await leases.release(place.pool, "prices", place.owner)
            await place.source.forget()
            place.source, place.owner, place.epoch = place.make(), place.owner + "'", 0
            await place.subscribed(connection=connections + 1)
        case "lie":
            await place.stork.tick({"BTCUSD": "1000"}, key=STRANGER)
        case "again":
            for row in place.rows:
                place.tell(msgspec.structs.replace(row, version=row.version + 1))


@pytest.mark.parametrize("seed", range(6))
async def test_any_history_fires_what_the_model_fires(place: Place, seed: int) -> None:
    rng = random.Random(seed)
    model, names = PriceIndexModel(), []
    for number, (operation, code) in enumerate(OPERATIONS.items()):
        for slack in (0, 2):
            name, target = f"{operation}-{slack}", rng.randrange(4, 8)
            await place.watch(name, target, operation, hysteresis=slack)
            model.put(2 * number + slack // 2, "BTCUSD", code, target, slack)
            names.append(name)
    await place.subscribed()
    expected: list[tuple[str, float]] = []
    for _ in range(15):
        prices = [rng.randrange(1, 11) for _ in range(rng.randrange(1, 5))]
        hits, _ = model.match([("BTCUSD", price) for price in prices])
        expected += [(names[slot], float(prices[number])) for number, slot in hits]
        await place.say(*map(str, prices))
        if rng.random() < 0.4:
            await misfortune(place, rng.choice(["drop", "close", "takeover", "lie", "again"]))
    assert sorted(await place.runs()) == sorted(expected)
