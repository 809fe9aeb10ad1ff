"""Storage, variables and organization storage: one transaction with their records, and never another organization's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from b3os.ids import receipt_key
from b3os.run.builtins.state import StateWrite
from b3os.store import admission, runs, state
from b3os.store.pool import Pool, as_org, open_pool
from tests.store.rows import make_workflow
from tests.store.test_engine import Record


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url, max_size=4)
    await make_workflow(pool, "wf_a")
    await make_workflow(pool, "wf_b", "org_b")
    yield pool
    await pool.close()


async def begin(pool: Pool, *names: str, workflow: str = "wf_a", org: str = "org_a") -> list[runs.RunRow]:
    proposals = [
        admission.Proposal(org, workflow, 1, "root", receipt_key(workflow, "root", name), f"run_{name}", "t", {}, 1)
        for name in names
    ]
    await admission.accept(pool, proposals)
    return sorted(await runs.claim(pool, [f"run_{name}" for name in names], "w1", 60), key=lambda run: run.id)


def part(run: runs.RunRow, *writes: StateWrite, **more: Any) -> runs.RunCommit:
    return runs.RunCommit(org_id=run.org_id, run_id=run.id, epoch=run.epoch, state=writes, **more)


async def test_runs_of_one_workflow_may_write_one_key_in_one_batch(pool: Pool) -> None:
    one, two = await begin(pool, "1", "2")
    (other,) = await begin(pool, "3", workflow="wf_b", org="org_b")
    done = await runs.commit(
        pool,
        [
            part(one, StateWrite("storage", "k", 1), StateWrite("storage", "k", [2]), StateWrite("variables", "v", 1)),
            part(two, StateWrite("storage", "k", {"n": 3}), StateWrite("org_storage", "k", 1, "s")),
            part(other, StateWrite("storage", "k", "b"), StateWrite("org_storage", "k", "b", "s")),
            part(one, StateWrite("variables", "v", None), StateWrite("org_storage", "k", "last", "s")),
        ],
    )
    assert done == [0, 0, 0, 0]
    assert await state.load_storage(pool, "org_a", "wf_a") == {"k": {"n": 3}}
    assert await state.load_storage(pool, "org_b", "wf_b") == {"k": "b"}
    assert await state.load_variables(pool, "org_a", "wf_a") == {"v": None}
    assert await state.read_org_storage(pool, "org_a", "s", "k") == (True, "last")
    assert await state.read_org_storage(pool, "org_b", "s", "k") == (True, "b")
    assert await state.read_org_storage(pool, "org_b", "default", "k") == (False, None)


async def test_a_stale_owner_writes_no_state(pool: Pool) -> None:
    (run,) = await begin(pool, "1")
    await pool.execute("update runs set epoch = epoch + 1")
    assert await runs.commit(pool, [part(run, StateWrite("storage", "k", 1), variables={"v": 1})]) == [None]
    assert await state.load_storage(pool, "org_a", "wf_a") == {}
    assert await pool.fetchval("select variables from runs") is None


async def test_the_snapshot_of_variables_is_kept_from_the_first_commit_on(pool: Pool) -> None:
    (run,) = await begin(pool, "1")
    assert run.variables is None
    await runs.commit(pool, [part(run, variables={"v": [1]})])
    await runs.commit(pool, [part(run, StateWrite("variables", "v", [2]), variables={"v": [9]}, release=True)])
    (again,) = await runs.claim(pool, [run.id], "w2", 60)
    assert again.variables == {"v": [1]}


async def test_keys_are_listed_in_order_and_by_prefix(pool: Pool) -> None:
    (run,) = await begin(pool, "1")
    writes = [StateWrite("org_storage", key, len(key), "default") for key in ("b", "a%", "ab", "aa")]
    await runs.commit(pool, [part(run, *writes)])

    async def listed(**more: Any) -> list[tuple[str, Any]]:
        fields = {"prefix": "", "limit": 10, "offset": 0, "with_values": False, **more}
        return await state.list_org_storage(pool, "org_a", "default", **fields)

    assert [key for key, _ in await listed()] == ["a%", "aa", "ab", "b"]
    assert await listed(prefix="a%", with_values=True) == [("a%", 2)]
    assert [key for key, _ in await listed(limit=2, offset=1)] == ["aa", "ab"]


async def test_large_results_live_outside_their_row_in_every_partition(pool: Pool) -> None:
    await pool.fetchval("select b3os_ensure_partitions(current_date + 40, 1)")
    kinds = await pool.fetch(
        "select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid "
        "where c.relname like 'node_runs%' and c.relkind in ('r', 'p') and a.attname in ('input', 'result') "
        "and a.attstorage <> 'e'"
    )
    assert kinds == []
    (run,) = await begin(pool, "1")
    records = [Record(n, f"n{n}", result={"text": "x" * 9000}) for n in range(1, 101)]
    assert await runs.commit(pool, [part(run, records=records)]) == [0]
    heap, outside = await pool.fetchrow(
        "select sum(pg_relation_size(c.oid)), sum(pg_relation_size(c.reltoastrelid)) from pg_class c "
        "where c.relname like 'node_runs%' and c.relkind = 'r'"
    )
    assert heap <= 4 * 8192
    assert outside >= 100 * 9000


@pytest.mark.parametrize("table", ["storage", "variables", "org_storage"])
async def test_state_of_others_does_not_exist_for_the_api(pool: Pool, table: Any) -> None:
    (run,) = await begin(pool, "1", workflow="wf_b", org="org_b")
    await runs.commit(pool, [part(run, StateWrite(table, "k", 1))])
    async with as_org(pool, "org_a") as db:
        assert await db.fetchval(f"select count(*) from {table}") == 0
    async with as_org(pool, "org_b") as db:
        assert await db.fetchval(f"select count(*) from {table}") == 1
