"""What a run is told of the chain event that started it, on real servers."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.queue.broker import Broker
from b3os.store import leases, source_states, trigger_notices
from b3os.store.pool import Pool, as_org, open_pool
from b3os.stream.events import RunEvent
from b3os.stream.publish import Publisher, stream_key
from services.master.admit import Admitter
from services.master.chain.book import StoredBook
from services.master.sources.chain import ChainSource
from tests.emulators.chain import ALICE, BOB, TOKEN, Network, transfer
from tests.emulators.ledger import Ledger, Tx, digest
from tests.simulation.chains import CHAIN_ID, listening, row
from tests.store.rows import make_workflow


class Place:
    """A source on a real database, over an emulated network in virtual time."""

    def __init__(self, pool: Pool, redis_url: str) -> None:
        self.pool, self.ledger = pool, Ledger(CHAIN_ID)
        self.ledger.grow(20)
        self.network = Network(self.ledger, 2)
        self.broker, self.publisher = Broker(redis_url), Publisher(redis_url)
        self.redis = redis.asyncio.Redis.from_url(redis_url)
        self.clock, self.epoch = 0.0, 0
        chain = Chain(id=CHAIN_ID, name="emulated", rpc_urls=self.network.urls)
        book = StoredBook(pool, Admitter(pool, self.broker), self.publisher)
        table, matcher = listening(self.network, book)
        table.apply(row("wf_1", "latest"))
        self.source = ChainSource(
            Rpc(chain, self.network, now=lambda: self.clock),
            table=table,
            matcher=matcher,
            book=book,
            now=lambda: self.clock,
        )

    async def poll(self, times: int) -> None:
        for _ in range(times):
            self.clock += 5.0
            await self.source.poll(self.epoch)


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    pool = await open_pool(pg_url)
    await make_workflow(pool, "wf_1")
    found = Place(pool, redis_url)
    found.epoch = await leases.acquire(pool, found.source.name, "me", 60) or 0
    await found.poll(2)
    yield found
    await found.broker.close()
    await found.publisher.close()
    await found.redis.aclose()
    await pool.close()


def tx(name: str) -> Tx:
    return Tx(digest(name), (transfer(TOKEN, ALICE, BOB, 1),))


async def test_a_run_is_told_once_that_its_event_is_final_or_removed(place: Place) -> None:
    place.ledger.mine(tx("kept"), tx("dropped"))
    await place.poll(1)
    ids = {
        r["trigger_result"]["txHash"]: r["id"] for r in await place.pool.fetch("select id, trigger_result from runs")
    }
    started = RunEvent(type="run_started", run_id="", org_id="org_a", workflow_id="wf_1", seq=1, timestamp=0)
    for run_id in ids.values():
        await place.publisher.publish([RunEvent(**{**_fields(started), "run_id": run_id})])
    async with as_org(place.pool, "org_a") as db:
        assert {(await trigger_notices.of_run(db, "org_a", run)).state for run in ids.values()} == {"pending"}  # type: ignore[union-attr]
    place.ledger.fork(1)
    place.ledger.mine(tx("kept"))
    place.ledger.grow(20)
    await place.poll(6)
    states = {}
    for name in ("kept", "dropped"):
        run_id = ids[digest(name)]
        notice = await trigger_notices.of_run(place.pool, "org_a", run_id)
        entries = await place.redis.xrange(stream_key(run_id))
        states[name] = (notice and notice.state, len(entries), b"trigger_" in entries[-1][1][b"e"])
    assert states == {"kept": ("finalized", 2, True), "dropped": ("removed", 2, True)}
    assert await place.pool.fetchval("select count(*) from runs") == 2


async def test_an_organization_sees_its_own_notices_only(place: Place) -> None:
    place.ledger.mine(tx("a"))
    await place.poll(1)
    run_id = await place.pool.fetchval("select id from runs")
    async with as_org(place.pool, "org_b") as db:
        assert await trigger_notices.of_run(db, "org_a", run_id) is None


async def test_states_of_sources_are_told_with_the_renewal_of_their_leases(place: Place) -> None:
    lag, detail = place.source.report()
    chain, cron = place.source.name, "cron"
    told = [source_states.Told(chain, lag, "", None, detail), source_states.Told(cron, "", "no", 1.0)]
    await leases.acquire(place.pool, cron, "m2", 60)
    holder = await place.pool.fetchval("select owner from leases where name = $1", chain)
    assert await leases.renew(place.pool, holder, [chain, cron], 60, told) == {chain}
    assert [one.source for one in await source_states.list_states(place.pool, "org_a")] == [chain]
    assert await leases.renew(place.pool, "m2", [cron], 60, told) == {cron}
    found = await source_states.list_states(place.pool, "org_a")
    assert [(one.source, one.holder, one.error) for one in found] == [(chain, holder, ""), (cron, "m2", "no")]
    assert found[0].lag == "0 blocks"
    assert found[0].detail["missing"] == 0


def _fields(event: RunEvent) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}
