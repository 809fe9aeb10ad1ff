"""PostgreSQL passes the contract of the engine's store; time passes by moving every stored time back."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from b3os.store import admission, runs
from b3os.store.pool import Pool, open_pool
from services.worker.ports import PostgresStore
from tests.store.contract import WINDOW, StoreContract
from tests.store.rows import make_workflow

#: What the engine stores of time.
TIMES = (
    ("workers", "until"), ("timers", "due_at"), ("runs", "queued_at"), ("leases", "until"),
)  # fmt: skip


class Store(PostgresStore):
    """The worker's store, with what others call beside it."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.pool = pool

    async def accept(self, proposals: Sequence[admission.Proposal]) -> list[admission.Outcome]:
        return await admission.accept(self.pool, proposals)

    async def resume_wait(self, *args: Any) -> runs.Woken | None:
        return await runs.resume_wait(self.pool, *args)

    async def load_records(self, org_id: str, run_id: str) -> list[dict[str, Any]]:
        return await runs.load_records(self.pool, org_id, run_id)


class House:
    """The store and its clock."""

    def __init__(self, pool: Pool) -> None:
        self.store = Store(pool)

    async def later(self, seconds: float) -> None:
        for table, column in TIMES:
            await self.store.pool.execute(
                f"update {table} set {column} = {column} - make_interval(secs => $1)", seconds
            )


class TestPostgres(StoreContract):
    @pytest.fixture
    async def house(self, pg_url: str) -> AsyncIterator[House]:
        pool = await open_pool(pg_url)
        for org in ("org_a", "org_b"):
            await make_workflow(pool, f"wf_{org}", org)
        await pool.execute("update organizations set run_window = $1", WINDOW)
        yield House(pool)
        await pool.close()


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    found = await open_pool(pg_url)
    for org in ("org_a", "org_b"):
        await make_workflow(found, f"wf_{org}", org)
    yield found
    await found.close()


@pytest.mark.parametrize("kind", ["lost", "waiting"])
async def test_a_hundred_thousand_runs_of_one_organization_starve_nobody(pool: Pool, kind: str) -> None:
    queued_at = "now() - interval '1 minute'" if kind == "lost" else "null"
    await pool.execute(
        "insert into runs (org_id, id, workflow_id, workflow_version, status, started_at, queued_at) "
        f"select 'org_a', 'run_' || n, 'wf_org_a', 1, 'running', now() - interval '1 hour', {queued_at} "
        "from generate_series(1, 100000) n"
    )
    await pool.execute(
        "insert into runs (org_id, id, workflow_id, workflow_version, status, queued_at) "
        f"values ('org_b', 'run_quiet', 'wf_org_b', 1, 'running', {queued_at})"
    )
    store = PostgresStore(pool)
    page = await store.lost("", orgs=200, each=50) if kind == "lost" else await store.feed("", orgs=200, limit=1000)
    ids = [ready.id for ready in page.ready]
    assert "run_quiet" in ids
    assert sum(ready.org_id == "org_a" for ready in page.ready) <= 500
    if kind == "waiting":
        assert ids.index("run_quiet") <= 1, "one of each organization comes before the second of any"
