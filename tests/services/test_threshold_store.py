"""Thresholds on a real database: runs, which triggers have fired, and the cursor are one transaction."""

from collections.abc import AsyncIterator

import pytest

from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.errors import StaleEpoch
from b3os.queue.broker import Broker
from b3os.store import edge_states, leases
from b3os.store.pool import Pool, open_pool
from b3os.store.triggers import problems_of
from b3os.stream.publish import Publisher
from services.master.admit import Admitter
from services.master.chain.book import StoredBook
from services.master.sources.chains import Thresholds
from services.master.sources.thresholds import ThresholdSource
from services.master.table import Table
from services.master.thresholds.book import StoredEdgeBook
from tests.emulators.chain import BOB, TOKEN, Network, word
from tests.emulators.contracts import REASON, REVERTS
from tests.emulators.ledger import Ledger, Tx, digest
from tests.services.threshold_case import BALANCE
from tests.simulation.chains import CHAIN_ID
from tests.store.rows import make_workflow
from tests.trigger_records import record

PAYLOAD = {
    "chainId": CHAIN_ID, "walletAddress": BOB, "tokenAddress": TOKEN, "operator": "$gte", "value": "100",
    "confirmations": "latest",
}  # fmt: skip


class Place:
    """A chain, a database, and masters between them."""

    def __init__(self, pool: Pool, redis_url: str) -> None:
        self.pool = pool
        self.broker = Broker(redis_url)
        self.publisher = Publisher(redis_url)
        self.ledger = Ledger(CHAIN_ID)
        self.ledger.grow(20)
        self.network = Network(self.ledger)
        self.made = 0
        self.clock = 0.0

    async def master(self, owner: str) -> tuple[ThresholdSource, int]:
        """Another master, which has the lease."""
        await self.pool.execute("update leases set until = '-infinity'")
        epoch = await leases.acquire(self.pool, f"thresholds:{CHAIN_ID}", owner, 60)
        assert epoch is not None
        chain, table = Chain(id=CHAIN_ID, name="emulated", rpc_urls=self.network.urls), Table()
        book = StoredEdgeBook(self.pool, StoredBook(self.pool, Admitter(self.pool, self.broker), self.publisher))
        family = Thresholds([chain], http=self.network, book=book)
        table.follow([family])
        table.apply(record("wf_1", "evm-balance", PAYLOAD))
        (known,) = family.wanted()
        source = ThresholdSource(Rpc(chain, self.network), book=book, now=lambda: self.clock)
        source.holding = known.holding
        return source, epoch

    async def step(self, source: ThresholdSource, epoch: int, value: str) -> int:
        """Mine a block with a balance and read it; returns how many runs there are."""
        self.made += 1
        self.clock += 10
        self.ledger.mine(Tx(digest("sets", self.made), sets=((BALANCE, value),)))
        await source.poll(epoch)
        found: int = await self.pool.fetchval("select count(*) from runs")
        return found


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    pool = await open_pool(pg_url)
    found = Place(pool, redis_url)
    await make_workflow(pool, "wf_1")
    yield found
    await found.broker.close()
    await found.publisher.close()
    await pool.close()


async def test_every_master_goes_on_with_what_the_last_one_stored(place: Place) -> None:
    amounts = [(0, 0), (100, 1), (150, 1), (99, 1), (100, 2), (100, 2), (0, 2), (200, 3)]
    for number, (amount, runs) in enumerate(amounts):
        source, epoch = await place.master(f"master_{number}")
        assert await place.step(source, epoch, word(amount)) == runs
    results = [row["trigger_result"] for row in await place.pool.fetch("select trigger_result from runs")]
    assert sorted(int(one["amount"]) for one in results) == [100, 100, 200]


async def test_what_a_stale_master_reads_is_not_stored(place: Place) -> None:
    source, epoch = await place.master("first")
    await place.step(source, epoch, word(0))
    other, newer = await place.master("second")
    with pytest.raises(StaleEpoch):
        await place.step(source, epoch, word(100))
    assert await place.pool.fetchval("select count(*) from edge_states") == 0
    assert await place.step(other, newer, word(100)) == 1
    assert await place.pool.fetchval("select count(*) from edge_states") == 1


async def test_a_run_is_told_that_a_fork_took_its_event_or_that_it_is_final(place: Place) -> None:
    source, epoch = await place.master("one")
    await place.step(source, epoch, word(100))
    place.ledger.fork(1)
    place.ledger.grow(1)
    await place.step(source, epoch, word(0))
    place.ledger.grow(12)
    await place.step(source, epoch, word(0))
    await place.step(source, epoch, word(100))
    place.ledger.grow(12)
    await place.step(source, epoch, word(100))
    told = await place.pool.fetch("select state from trigger_notices order by block")
    assert [row["state"] for row in told] == ["removed", "finalized"]


async def test_a_trigger_whose_call_fails_says_so_until_it_does_not(place: Place) -> None:
    source, epoch = await place.master("one")
    await place.step(source, epoch, REVERTS)
    (problem,) = await problems_of(place.pool, "org_a", "wf_1")
    assert problem.reason == "source"
    assert "execution reverted" in problem.message
    source, epoch = await place.master("two")
    assert await place.step(source, epoch, word(100)) == 1
    assert await problems_of(place.pool, "org_a", "wf_1") == []


async def test_a_reason_that_no_text_of_the_database_can_hold_is_told_without_what_it_cannot(place: Place) -> None:
    source, epoch = await place.master("one")
    reason = REASON + word(32)[2:] + word(6)[2:] + b"no\0way".hex().ljust(64, "0")
    assert await place.step(source, epoch, reason) == 0
    (problem,) = await problems_of(place.pool, "org_a", "wf_1")
    assert "no\ufffdway" in problem.message
    assert await place.step(source, epoch, word(100)) == 1


async def test_what_was_known_of_a_trigger_that_is_gone_is_forgotten(place: Place) -> None:
    source, epoch = await place.master("one")
    await place.step(source, epoch, word(100))
    name = f"thresholds:{CHAIN_ID}"
    assert list(await edge_states.read(place.pool, name)) == [("org_a", "wf_1", "root")]
    await place.pool.execute("update triggers set active = false")
    assert await edge_states.read(place.pool, name) == {}
