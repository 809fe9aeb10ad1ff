"""Holding runs: what a renewal may stop, and what it must let go."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from b3os.ids import receipt_key
from b3os.queue.task import Task
from b3os.store.admission import Proposal, accept
from b3os.store.pool import Pool, open_pool
from b3os.store.runs import RunRow
from services.worker.hands import Hands
from services.worker.ports import PostgresStore
from tests.store.rows import make_workflow

OWNER = "worker_1"


class Patient:
    """A runner whose runs go on until they are let off."""

    def __init__(self) -> None:
        self.off = asyncio.Event()

    async def go_on(self, row: RunRow) -> None:
        await self.off.wait()


class Slow(PostgresStore):
    """PostgreSQL, with something happening between its answer and the moment that we see it."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def renew(self, owner: str, ttl_s: float) -> set[tuple[str, str]]:
        kept = await super().renew(owner, ttl_s)
        if self.meanwhile is not None:
            await self.meanwhile()
        return kept


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url)
    await make_workflow(pool, "wf_1")
    yield pool
    await pool.close()


async def accepted(pool: Pool, run_id: str) -> str:
    key = receipt_key("wf_1", "root", run_id)
    await accept(pool, [Proposal("org_a", "wf_1", 1, "root", key, run_id, "webhook", {}, 1)])
    return run_id


async def hold(store: PostgresStore, hands: Hands, run_id: str) -> None:
    (row,) = await store.claim([run_id], OWNER, 6.0)
    hands.start(row, Task(run_id, "wf:run", b"", "default"))


async def test_a_run_claimed_while_the_renewal_answers_goes_on(pool: Pool) -> None:
    store, runner = Slow(pool), Patient()
    hands = Hands(store, runner, owner=OWNER, limit=9)  # type: ignore[arg-type]
    await hold(store, hands, await accepted(pool, "run_1"))
    late = await accepted(pool, "run_2")
    store.meanwhile = lambda: hold(store, hands, late)
    assert await hands.renew() == []
    await asyncio.sleep(0)
    assert len(hands.working()) == 2, "the renewal knew nothing of the second run, and must not stop it"
    runner.off.set()
    await hands.empty(5)


async def test_a_run_that_is_ours_and_not_in_hand_is_let_go_at_the_second_renewal(pool: Pool) -> None:
    store, runner = PostgresStore(pool), Patient()
    hands = Hands(store, runner, owner=OWNER, limit=9)  # type: ignore[arg-type]
    await hold(store, hands, await accepted(pool, "run_1"))
    await store.claim([await accepted(pool, "run_2")], OWNER, 6.0)  # the answer never came
    assert await hands.renew() == []
    assert [ready.id for ready in await hands.renew()] == ["run_2"]
    assert [row.id for row in await store.claim(["run_1", "run_2"], "worker_2", 6.0)] == ["run_2"]
    runner.off.set()
    await hands.empty(5)
