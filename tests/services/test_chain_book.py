"""The book in memory is PostgreSQL's: random histories are written into both at once, and every answer compared."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from b3os.errors import StaleEpoch
from b3os.queue.broker import Broker
from b3os.store import leases
from b3os.store.pool import Pool, open_pool
from b3os.store.trigger_notices import Sighting
from b3os.stream.publish import Publisher
from services.master.admit import Admitter
from services.master.chain.book import Fate, StoredBook, Written
from services.master.chain.reading import Found
from tests.simulation.book import MemoryBook
from tests.simulation.chains import CHAIN_ID, POLICIES, History, judged
from tests.store.rows import make_workflow

SOURCE = f"chain:{CHAIN_ID}"


class BothBooks(MemoryBook):
    """Writes in both, and insists on the same answers; a new epoch in memory is a new lease in the database."""

    def __init__(self, pool: Pool, stored: StoredBook) -> None:
        super().__init__()
        self.pool = pool
        self._stored = stored
        self._leased = 0

    async def position(self, source: str) -> dict[str, Any] | None:
        """Read from both."""
        found = await self._stored.position(source)
        assert found == await super().position(source)
        return found

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Read from both."""
        found = await self._stored.pending(source, until)
        assert set(found) == set(await super().pending(source, until))
        return found

    async def write(
        self, cursor: tuple[str, int, dict[str, Any]], found: Sequence[Found], *, state: str, fates: Sequence[Fate] = ()
    ) -> Written:
        """Write in both."""
        while self._leased < self.epoch:
            await leases.release(self.pool, SOURCE, "me")
            self._leased = await leases.acquire(self.pool, SOURCE, "me", 600) or 0
        try:
            expected = await super().write(cursor, found, state=state, fates=fates)
        except StaleEpoch:
            with pytest.raises(StaleEpoch):
                await self._stored.write(cursor, found, state=state, fates=fates)
            raise
        written = await self._stored.write(cursor, found, state=state, fates=fates)
        assert told(written) == told(expected)
        return written


def told(written: Written) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """What a book answers: the outcome of each event, and the fates that are new."""
    outcomes = [(one.run_id, one.status) for one in written.outcomes]
    return outcomes, {(one.run_id, one.state) for one in written.settled}


@pytest.fixture
async def both(pg_url: str, redis_url: str) -> AsyncIterator[BothBooks]:
    pool = await open_pool(pg_url)
    broker, publisher = Broker(redis_url), Publisher(redis_url)
    for policy in POLICIES:
        for kind in ("wf", "blocks", "reverts", "coins"):
            await make_workflow(pool, f"{kind}_{policy}")
    yield BothBooks(pool, StoredBook(pool, Admitter(pool, broker), publisher))
    await broker.close()
    await publisher.close()
    await pool.close()


@pytest.mark.parametrize("seed", range(8))
async def test_the_book_in_memory_answers_as_that_of_the_database(both: BothBooks, seed: int) -> None:
    assert await judged(History(seed, both), steps=24) == []
    rows = await both.pool.fetch("select id from runs")
    assert {row["id"] for row in rows} == set(both.runs)
