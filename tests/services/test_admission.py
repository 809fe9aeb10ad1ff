"""Accepting webhooks together: one transaction for many, and no neighbour's fault is ours."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from b3os.ids import receipt_key
from b3os.inbound.admission import Admission
from b3os.queue.broker import Broker
from b3os.store.admission import Proposal
from b3os.store.pool import Pool, open_pool
from tests.store.rows import make_workflow


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url)
    await make_workflow(pool, "wf_1")
    yield pool
    await pool.close()


@pytest.fixture
async def admission(pool: Pool, redis_url: str) -> AsyncIterator[Admission]:
    broker = Broker(redis_url)
    found = Admission(pool, broker)
    yield found
    await found.close()
    await broker.close()


def call(number: int, source: str = "webhook") -> Proposal:
    key = receipt_key("wf_1", "root", f"webhook:{number}")
    return Proposal("org_a", "wf_1", 1, "root", key, f"run_{number}", source, {}, 1)


async def test_calls_that_arrive_together_share_transactions(pool: Pool, admission: Admission) -> None:
    before = await pool.fetchval("select pg_current_xact_id()::text::bigint")
    outcomes = await asyncio.gather(*[admission.admit(call(number)) for number in range(100)])
    after = await pool.fetchval("select pg_current_xact_id()::text::bigint")
    assert {outcome.status for outcome in outcomes} == {"accepted"}
    assert await pool.fetchval("select count(*) from runs") == 100
    assert after - before <= 5, "a hundred calls at once are a few transactions"


async def test_the_same_call_twice_at_once_is_one_run(pool: Pool, admission: Admission) -> None:
    outcomes = await asyncio.gather(*[admission.admit(call(1)) for _ in range(8)])
    assert sorted(outcome.status for outcome in outcomes) == ["accepted"] + ["duplicate"] * 7
    assert {outcome.run_id for outcome in outcomes} == {"run_1"}


async def test_what_the_database_refuses_fails_alone(pool: Pool, admission: Admission) -> None:
    calls = [call(1), call(2, "a\x00b"), call(3), call(4)]
    found = await asyncio.gather(*[admission.admit(one) for one in calls], return_exceptions=True)
    assert [isinstance(one, asyncpg.DataError) for one in found] == [False, True, False, False]
    assert await pool.fetchval("select count(*) from runs") == 3
