"""What upkeep makes and removes, on a store with rows of many days."""

import datetime
from collections.abc import AsyncIterator

import pytest

from b3os.store import retention, workflows
from b3os.store.pool import Pool, open_pool
from tests.store.rows import make_workflow

DAY = datetime.timedelta(days=1)


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url)
    await make_workflow(pool, "wf_1")
    yield pool
    await pool.close()


async def add_run(pool: Pool, run_id: str, age: int, status: str = "success", ended: int | None = None) -> None:
    """A run that began `age` days ago with one node record and one receipt; it ended `ended` days ago."""
    began = datetime.datetime.now(datetime.UTC) - age * DAY
    finished = None if status == "waiting" else began if ended is None else began + (age - ended) * DAY
    await pool.execute("select b3os_ensure_partitions($1, 0)", began.date())
    await pool.execute(
        "insert into runs (org_id, id, workflow_id, status, started_at, finished_at, day) "
        "values ('org_a', $1, 'wf_1', $2, $3, $4, $5)",
        *(run_id, status, began, finished, began.date()),
    )
    await pool.execute(
        "insert into node_runs (org_id, run_id, day, node_id, final, seq, type, status, started_ms) "
        "values ('org_a', $1, $2, 'n', true, 2, 'log', 'success', 1)",
        *(run_id, began.date()),
    )
    await pool.execute(
        "insert into receipts (org_id, key, workflow_id, run_id, received_at) values ('org_a', $1, 'wf_1', $2, $3)",
        *(run_id.encode(), run_id, began),
    )


async def left(pool: Pool, table: str, column: str = "run_id") -> list[str]:
    return [row[0] for row in await pool.fetch(f"select {column} from {table} order by 1")]


async def test_partitions_are_made_once(pool: Pool) -> None:
    assert await retention.ensure_partitions(pool, 5) == 12
    assert await retention.ensure_partitions(pool, 5) == 0


async def test_ended_runs_go_in_batches_and_receipts_after_them(pool: Pool) -> None:
    for number in range(5):
        await add_run(pool, f"run_old{number}", 40)
    await add_run(pool, "run_new", 2)
    await add_run(pool, "run_wait", 50, "waiting")
    await add_run(pool, "run_late", 60, ended=1)
    before = await retention.today(pool) - 30 * DAY
    assert await retention.remove_receipts(pool, before, 100) == 0
    assert [await retention.remove_runs(pool, before, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await left(pool, "runs", "id") == ["run_late", "run_new", "run_wait"]
    assert [await retention.remove_receipts(pool, before, 3) for _ in range(3)] == [3, 2, 0]
    assert await left(pool, "receipts") == ["run_late", "run_new", "run_wait"]


async def test_a_workflow_remembers_when_it_last_ran(pool: Pool) -> None:
    await add_run(pool, "run_a", 41)
    await add_run(pool, "run_b", 40)
    ran = (await workflows.get_workflow(pool, "org_a", "wf_1")).last_triggered_at
    await retention.remove_runs(pool, await retention.today(pool) - 30 * DAY, 100)
    assert await left(pool, "runs", "id") == []
    assert (await workflows.get_workflow(pool, "org_a", "wf_1")).last_triggered_at == ran


async def test_a_waiting_run_keeps_the_partition_of_its_day(pool: Pool) -> None:
    await add_run(pool, "run_older", 50)
    await add_run(pool, "run_wait", 45, "waiting")
    await add_run(pool, "run_old", 40)
    before = await retention.today(pool) - 30 * DAY
    await retention.remove_runs(pool, before, 100)
    first = await retention.first_day(pool, before)
    assert first == before - 15 * DAY
    assert await retention.drop_partitions(pool, "node_runs", first) == 1
    assert await left(pool, "node_runs") == ["run_old", "run_wait"]
    await pool.execute("update runs set status = 'cancelled', finished_at = now() - interval '31 days'")
    assert await retention.remove_runs(pool, before, 100) == 1
    assert await retention.first_day(pool, before) == before
    assert await retention.drop_partitions(pool, "node_runs", before) == 2


async def test_a_busy_table_is_left_for_later(pool: Pool) -> None:
    await add_run(pool, "run_old", 40)
    before = await retention.today(pool) - 30 * DAY
    async with pool.acquire() as other, other.transaction():
        await other.execute("lock table node_runs in row exclusive mode")
        assert await retention.drop_partitions(pool, "node_runs", before) is None
        assert await retention.ensure_partitions(pool, 9) is None
    assert await retention.drop_partitions(pool, "node_runs", before) == 1


async def test_workers_of_yesterday_go(pool: Pool) -> None:
    await pool.execute("insert into workers values ('dead', now() - interval '2 days'), ('slow', now())")
    assert await retention.remove_workers(pool) == 1
    assert await left(pool, "workers", "owner") == ["slow"]
