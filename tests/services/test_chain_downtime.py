"""An hour without a master on a chain with a block every quarter second: what it missed, and what is new meanwhile.

The node is real HTTP, the database real; the clock is not: every request takes as long as a test says, and the chain
makes its blocks while it does.
"""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest

from b3os.chain.chains import Chain, egress_of
from b3os.chain.rpc import HttpAnswer, Rpc
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.store import leases
from b3os.store.pool import Pool, open_pool
from b3os.stream.publish import Publisher
from services.master.admit import Admitter
from services.master.chain.book import StoredBook, Written
from services.master.chain.reading import Found
from services.master.sources.chain import FRONT, ChainSource
from services.master.sources.chains import Chains
from services.master.table import Table
from tests.emulators.chain import ALICE, BOB, TOKEN, Network, transfer
from tests.emulators.ledger import Ledger, Tx, digest
from tests.store.rows import make_workflow
from tests.trigger_records import compiled

CHAIN_ID = 31337
BLOCK_S = 0.25
MISSED = 14_400
#: Every second block has a transfer that is awaited.
EVERY = 2
FINAL_DEPTH = 64
#: 400 blocks a second, at a fiftieth of a second for each request.
LIMIT_S = MISSED / 400


class Busy:
    """A chain that goes on while requests are under way, its client, and when each event was stored."""

    def __init__(self, request_s: float) -> None:
        self.ledger = Ledger(CHAIN_ID)
        self.ledger.final_depth = FINAL_DEPTH
        self.network = Network(self.ledger)
        self.clock = 0.0
        self.mined_s = 0.0
        #: Blocks by number: when each with an awaited transfer was made, and when its run was committed.
        self.made: dict[int, float] = {}
        self.stored: dict[int, float] = {}
        self._request_s = request_s

    async def start(self) -> None:
        """Serve a chain of some age."""
        await self.network.start()
        urls = self.network.urls
        self.chain = Chain(id=CHAIN_ID, name="quick", rpc_urls=urls, block_time_ms=int(BLOCK_S * 1000))
        self._http = GuardedClient(allow=egress_of([self.chain]))
        self.wait(BLOCK_S * 2 * FINAL_DEPTH)

    async def stop(self) -> None:
        """Serve no more."""
        await self._http.close()
        await self.network.stop()

    def now(self) -> float:
        """The time in seconds."""
        return self.clock

    async def request(self, method: str, url: str, **about: Any) -> HttpAnswer:
        """Ask the node: before it answers, the time of a request goes by."""
        self.wait(self._request_s)
        return await self._http.request(method, url, **about)

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.clock += seconds
        while self.mined_s + BLOCK_S <= self.clock:
            self.mined_s += BLOCK_S
            self.mine()

    def mine(self) -> None:
        """Make the next block."""
        number = self.ledger.head + 1
        logs = (transfer(TOKEN, ALICE, BOB, number),) if number % EVERY == 0 else ()
        self.ledger.mine(Tx(digest("tx", number), logs))
        if logs:
            self.made[number] = self.mined_s

    def latencies(self, since_s: float) -> list[float]:
        """How long after its block each run was stored, of blocks since a time."""
        return [self.stored[n] - at for n, at in self.made.items() if at > since_s and n in self.stored]


class NotedBook(StoredBook):
    """The book in PostgreSQL, and the time of each event's first commit."""

    busy: Busy

    async def write(self, cursor: tuple[str, int, dict[str, Any]], found: Sequence[Found], **rest: Any) -> Written:
        written = await super().write(cursor, found, **rest)
        for one in found:
            self.busy.stored.setdefault(one.block, self.busy.clock)
        return written


class Place:
    """What a test needs: the chain, the database, and masters that follow each other."""

    def __init__(self, pool: Pool, redis_url: str, request_s: float) -> None:
        self.pool = pool
        self.broker, self.publisher = Broker(redis_url), Publisher(redis_url)
        self.busy = Busy(request_s)
        self.epoch = 0

    async def master(self) -> ChainSource:
        """A master that takes over, without any memory."""
        book = NotedBook(self.pool, Admitter(self.pool, self.broker), self.publisher)
        book.busy = self.busy
        table = Table()
        family = Chains([], http=self.busy, table=table, book=book)
        table.follow([family])
        payload = {"chainId": CHAIN_ID, "walletAddress": BOB, "tokenAddress": TOKEN, "confirmations": "latest"}
        table.apply(compiled("wf_1", "erc20-receive", payload))
        await leases.release(self.pool, f"chain:{CHAIN_ID}", "me")
        self.epoch = await leases.acquire(self.pool, f"chain:{CHAIN_ID}", "me", 600) or 0
        return ChainSource(
            Rpc(self.busy.chain, self.busy, now=self.busy.now),
            table=table,
            matcher=family.matcher,
            book=book,
            now=self.busy.now,
            now_ms=lambda: 0,
        )

    async def follow(self, source: ChainSource, *, until_s: float = 0.0, level: int = 2**63) -> float:
        """Poll as the keeper does until a time, or until all is read up to a block; returns the seconds it took."""
        began = self.busy.clock
        while self.busy.clock < until_s and not source.is_level(level):
            self.busy.wait(await source.poll(self.epoch))
        return self.busy.clock - began

    async def runs(self) -> list[int]:
        """The blocks that runs began with."""
        rows = await self.pool.fetch("select (trigger_result->>'amount')::int n from runs order by 1")
        return [row["n"] for row in rows]


@pytest.fixture
async def place(pg_url: str, redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    pool = await open_pool(pg_url)
    found = Place(pool, redis_url, request.param)
    await found.busy.start()
    await make_workflow(pool, "wf_1")
    yield found
    await found.broker.close()
    await found.publisher.close()
    await found.busy.stop()
    await pool.close()


#: The fixture's parameter: seconds of a request.
takes = partial(pytest.mark.parametrize, "place", indirect=True)


@takes(argvalues=[0.02])
async def test_an_hour_of_downtime_is_caught_up_while_new_blocks_fire_as_soon_as_ever(place: Place) -> None:
    busy = place.busy
    began = busy.ledger.head
    await place.follow(await place.master(), until_s=busy.clock + 60.0)
    alone = busy.latencies(since_s=busy.clock - 50.0)
    busy.wait(MISSED * BLOCK_S)
    back_at, missed = busy.clock, busy.ledger.head
    second = await place.master()
    await place.follow(second, until_s=back_at + 10.0)
    halfway = second.report()[1]
    third = await place.master()
    await place.follow(third, until_s=back_at + LIMIT_S, level=missed)
    assert busy.clock < back_at + LIMIT_S
    meanwhile = busy.latencies(since_s=back_at)
    assert len(meanwhile) > 20
    assert max(meanwhile) <= 1.05 * max(alone)
    covered = third.report()[1]
    ((first, last),) = halfway["gaps"]
    assert halfway["missing"] == last - first + 1 == halfway["head"] - halfway["seen"]
    assert (covered["missing"], covered["gaps"], covered["seen"]) == (0, [], covered["head"])
    assert covered["repaired"] > MISSED - FRONT
    ran = await place.runs()
    assert len(ran) == len(set(ran))
    assert set(ran) >= {number for number in busy.made if began < number <= missed}


@takes(argvalues=[0.4])
async def test_what_is_behind_shrinks_also_where_requests_take_longer_than_blocks(place: Place) -> None:
    busy = place.busy
    await place.follow(await place.master(), until_s=busy.clock + 30.0)
    busy.wait(1000 * BLOCK_S)
    source = await place.master()
    behind = []
    for _ in range(4):
        await place.follow(source, until_s=busy.clock + 100.0)
        behind.append(busy.ledger.final - source.report()[1]["final"])
    assert behind[-1] < FINAL_DEPTH, behind
