"""The upkeep role: one of many goes round, in batches, by the settings."""

import asyncio
import datetime
from collections.abc import AsyncIterator

import pytest

from b3os.settings import Settings
from b3os.store import leases
from b3os.store.pool import Pool, open_pool
from services.watchdog.upkeep import LEASE, Upkeep
from tests.store.test_retention import add_run, left


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url)
    await pool.execute("insert into organizations (org_id, name, slug) values ('org_a', 'A', 'a')")
    yield pool
    await pool.close()


async def test_a_round_removes_all_that_is_older_than_the_settings_say(pool: Pool) -> None:
    for number in range(5):
        await add_run(pool, f"run_{number}", 8)
    await add_run(pool, "run_new", 6)
    old = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=3)
    await pool.execute("select b3os_ensure_partitions($1, 0)", old)
    await pool.execute("insert into health_results (day, target, status) values ($1, 't', 'healthy')", old)
    tick = "insert into prices (day, asset, at, price) values ($1, 'BTCUSD', now(), 1)"
    await pool.execute(tick, old)
    settings = Settings(keep_runs_days=7, keep_health_days=2, keep_prices_days=2)
    done = await Upkeep(pool, settings, asyncio.Event(), batch=2).round()
    assert done is not None
    assert (done["runs"], done["receipts"], done["made"] > 0) == (5, 5, True)
    assert await left(pool, "runs", "id") == ["run_new"]
    assert await left(pool, "node_runs") == ["run_new"]
    assert await left(pool, "health_results", "target") == []
    assert await left(pool, "prices", "asset") == []
    assert await Upkeep(pool, settings, asyncio.Event()).round() == dict.fromkeys(done, 0)


async def test_only_the_holder_of_the_lease_goes_round(pool: Pool) -> None:
    await leases.acquire(pool, LEASE, "another", 60)
    assert await Upkeep(pool, Settings(), asyncio.Event()).round() is None
    await leases.release(pool, LEASE, "another")
    assert await Upkeep(pool, Settings(), asyncio.Event()).round() is not None


async def test_a_stop_ends_a_round_between_two_batches(pool: Pool) -> None:
    for number in range(5):
        await add_run(pool, f"run_{number}", 40)
    stop = asyncio.Event()
    stop.set()
    done = await Upkeep(pool, Settings(), stop, batch=2).round()
    assert done is not None
    assert done["runs"] == 0
    assert len(await left(pool, "node_runs")) == 5
