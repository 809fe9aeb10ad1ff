"""Migrations, row level security, the change feed, admission, leases, group commit, timers and waits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from b3os.errors import BadInput, Conflict, NotFound, StaleEpoch
from b3os.ids import receipt_key
from b3os.run.builtins.state import StateWrite
from b3os.store import admission, leases, run_reads, runs, state, sweep, triggers, webhooks, workflows
from b3os.store.migrate import MIGRATIONS, migrate, pending
from b3os.store.orgs import create_org
from b3os.store.pool import Pool, as_org, open_pool


class Record(msgspec.Struct, frozen=True):
    seq: int
    node_id: str
    status: str = "success"
    result: Any = None
    path: str = ""
    type: str = "log"
    input: Any = None
    branch: str | None = None
    started_ms: int = 1
    finished_ms: int | None = 2
    attempt: int = 1


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url, max_size=16)
    for org in ("org_a", "org_b"):
        await create_org(pool, org, name=org, slug=org, by="user_1")
    yield pool
    await pool.close()


async def make(pool: Pool, wf: str = "wf_1", org: str = "org_a", **settings: Any) -> None:
    definition = {"nodes": {"root": {"type": "manual", "payload": {}}}}
    await workflows.create_workflow(pool, org, wf, name=wf, definition=definition, by="user_1", **settings)
    await live(pool, wf, org)


async def live(pool: Pool, wf: str = "wf_1", org: str = "org_a", **more: Any) -> workflows.Workflow:
    return await workflows.publish(
        pool,
        org,
        wf,
        triggers=[workflows.PublishedTrigger("root", "manual", {"a": [1]})],
        by="u",
        new_secret=lambda: f"s-{wf}",
        **more,
    )


def event(n: int, wf: str = "wf_1", *, now: int = 1_000, org: str = "org_a") -> admission.Proposal:
    key = receipt_key(wf, "root", str(n))
    return admission.Proposal(org, wf, 1, "root", key, f"run_{wf}{n}", "test", {"n": n}, now)


async def test_eight_migrators_at_once(pg_url: str) -> None:
    plain = await open_pool(pg_url)
    await plain.execute("drop schema public cascade; create schema public")
    await plain.close()
    every = sorted(path.name for path in MIGRATIONS.glob("*.sql"))
    assert await pending(pg_url) == every
    done = await asyncio.gather(*[migrate(pg_url) for _ in range(8)])
    assert sorted(done) == [[]] * 7 + [every]
    assert await pending(pg_url) == []


async def test_rows_of_others_do_not_exist(pool: Pool) -> None:
    await make(pool)
    await make(pool, "wf_2", "org_b")
    await admission.accept(pool, [event(1), event(1, "wf_2", org="org_b")])
    async with as_org(pool, "org_a") as db:
        assert [w.id for w in await workflows.list_workflows(db, "org_a")] == ["wf_1"]
        assert [r.id for r in await run_reads.list_runs(db, "org_a")] == ["run_wf_11"]
        with pytest.raises(NotFound):
            await workflows.get_workflow(db, "org_b", "wf_2")
        for table in ("workflows", "workflow_versions", "triggers", "runs", "receipts", "organizations"):
            assert {row["org_id"] for row in await db.fetch(f"select org_id from {table}")} == {"org_a"}
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("set local role b3os_app")
        for table in ("workflows", "runs", "organizations", "users"):
            assert await connection.fetch(f"select 1 from {table}") == []
    with pytest.raises(BadInput):
        async with as_org(pool, ""):
            pass


async def test_every_tenant_table_forces_row_security(pool: Pool) -> None:
    open_tables = await pool.fetch(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' "
        "where c.relkind in ('r', 'p') and not c.relispartition and not c.relforcerowsecurity"
    )
    assert open_tables == []


async def test_event_is_accepted_once_under_concurrency(pool: Pool) -> None:
    await make(pool)
    batch = [event(n) for n in range(5)]
    found = await asyncio.gather(*[admission.accept(pool, batch) for _ in range(10)])
    statuses = [outcome.status for outcomes in found for outcome in outcomes]
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (5, 45)
    assert all(o.run_id == p.run_id for outcomes in found for o, p in zip(outcomes, batch, strict=True))
    twice = await admission.accept(pool, [event(9), event(9), event(1, "wf_none")])
    assert [o.status for o in twice] == ["accepted", "duplicate", "inactive"]
    assert await pool.fetchval("select count(*) from runs") == 6


async def test_cooldown_and_limits_hold_under_concurrency(pool: Pool) -> None:
    await make(pool, "wf_c", cooldown_ms=500)
    await make(pool, "wf_m", max_runs=3)
    cooled = await asyncio.gather(*[admission.accept(pool, [event(n, "wf_c")]) for n in range(8)])
    assert sorted(o.status for [o] in cooled) == ["accepted"] + ["cooldown"] * 7
    later = await admission.accept(pool, [event(n, "wf_c", now=1_500) for n in range(7, 9)])
    assert sorted(o.status for o in later) in (["cooldown", "duplicate"], ["accepted", "duplicate"])
    cursor = await triggers.read_all(pool, lambda _: None)
    limited = await asyncio.gather(*[admission.accept(pool, [event(n, "wf_m")]) for n in range(8)])
    assert sorted(o.status for [o] in limited) == ["accepted"] * 3 + ["exhausted"] * 5
    found = await workflows.get_workflow(pool, "org_a", "wf_m")
    assert (found.status, found.paused_reason, found.remain_runs) == ("paused", "max_runs_exhausted", 0)
    changed, _ = await triggers.read_changes(pool, cursor)
    assert b"wf_m" in changed
    await workflows.refill(pool, "org_a", "wf_m", remain_runs=1, by="u")
    assert [o.status for o in await admission.accept(pool, [event(20, "wf_m")])] == ["accepted"]


async def test_stale_source_writes_nothing(pool: Pool) -> None:
    await make(pool)
    first = await leases.acquire(pool, "evm:1", "m1", 60)
    assert await leases.acquire(pool, "evm:1", "m2", 60) is None
    assert await leases.renew(pool, "m1", ["evm:1", "evm:2"], 60) == {"evm:1"}
    assert await leases.acquire_free(pool, ["evm:1", "evm:3"], "m2", 60) == {"evm:3": 1}
    assert await leases.acquire_free(pool, ["evm:1", "evm:3"], "m1", 60) == {"evm:1": first}
    await leases.release(pool, "evm:1", "m1")
    second = await leases.acquire(pool, "evm:1", "m2", 60)
    assert first is not None
    assert second == first + 1
    with pytest.raises(StaleEpoch):
        await admission.accept(pool, [event(1)], cursor=("evm:1", first, {"block": 9}))
    assert await leases.read_cursor(pool, "evm:1") is None
    assert await pool.fetchval("select count(*) from receipts") == 0
    await admission.accept(pool, [event(1)], cursor=("evm:1", second, {"block": 9}))
    assert await leases.read_cursor(pool, "evm:1") == {"block": 9}


async def start(pool: Pool, n: int = 1) -> runs.RunRow:
    await admission.accept(pool, [event(n)])
    [run] = await runs.claim(pool, [f"run_wf_1{n}"], "w1", 60)
    return run


def part(run: runs.RunRow, *records: Record, **more: Any) -> runs.RunCommit:
    return runs.RunCommit(org_id=run.org_id, run_id=run.id, epoch=run.epoch, records=records, **more)


async def test_group_commit_refuses_stale_epochs(pool: Pool) -> None:
    await make(pool)
    one, two = await start(pool, 1), await start(pool, 2)
    assert await runs.claim(pool, [one.id], "w2", 60) == []
    await pool.execute("update workers set until = now() - interval '1 s'")
    assert {ready.id for ready in await sweep.take_from_the_dead(pool, 10)} == {one.id, two.id}
    [stolen] = await runs.claim(pool, [one.id], "w2", 60)
    assert stolen.epoch == one.epoch + 1
    done = await runs.commit(
        pool,
        [
            part(one, Record(1, "stale")),
            part(stolen, Record(1, "root", result=[1, {"x": "a\u0000"}]), state=[StateWrite("storage", "k", [2])]),
            part(two, Record(1, "root"), status="success", release=True),
        ],
    )
    assert done == [None, 0, 0]
    assert [r["result"] for r in await runs.load_records(pool, "org_a", one.id)] == [[1, {"x": "a\ufffd"}]]
    assert await state.load_storage(pool, "org_a", "wf_1") == {"k": [2]}
    assert (await run_reads.get_run(pool, "org_a", two.id)).status == "success"
    assert await runs.commit(pool, [part(two, Record(2, "late"))]) == [None]
    assert await runs.renew_runs(pool, "w2", 60) == {("org_a", one.id)}
    assert await runs.load_definition(pool, "org_a", "wf_1", 1)


async def ready_again(pool: Pool) -> list[str]:
    return [ready.id for ready in (await sweep.lost(pool, "", orgs=10, each=10, lost_after_s=0)).ready]


async def test_timers_fire_once(pool: Pool) -> None:
    await make(pool)
    run = await start(pool)
    waiting = [Record(1, "d", "waiting", type="delay"), Record(2, "w", "waiting", type="wait")]
    timers = [runs.TimerRow("d", "", "delay", 0), runs.TimerRow("w", "", "wait", 3_600_000)]
    await runs.commit(pool, [part(run, *waiting, timers=timers, status="waiting", release=True)])
    assert await ready_again(pool) == []
    fired = await asyncio.gather(*[sweep.fire_due_timers(pool, 10) for _ in range(4)])
    assert [ready.id for found, _ in fired for ready in found] == [run.id]
    last = (await runs.load_records(pool, "org_a", run.id))[-1]
    assert (last["seq"], last["node_id"], last["result"]) == (3, "d", {"status": "completed"})
    await pool.execute("update timers set due_at = now()")
    assert await sweep.fire_due_timers(pool, 10) == ([sweep.Ready("org_a", run.id, "test")], 1)
    assert (await runs.load_records(pool, "org_a", run.id))[-1]["branch"] == "timed_out"


async def test_wait_has_one_winner_of_ten(pool: Pool) -> None:
    await make(pool)
    run = await start(pool)
    await runs.commit(pool, [part(run, Record(1, "w", "waiting", type="wait"))])
    won = await asyncio.gather(*[runs.resume_wait(pool, "org_a", run.id, "w", "", {"n": n}) for n in range(10)])
    assert won.count(None) == 9
    # The holder did not know: its next record moves up, and its going to sleep does not hide the answer.
    assert await runs.commit(pool, [part(run, Record(2, "x"), status="waiting", release=True)]) == [1]
    assert [(r["seq"], r["node_id"]) for r in await runs.load_records(pool, "org_a", run.id)] == [
        (1, "w"), (2, "w"), (3, "x"),
    ]  # fmt: skip
    assert await ready_again(pool) == [run.id]
    assert not await runs.resume_wait(pool, "org_b", run.id, "w", "", {})


async def test_cancelled_run_refuses_what_its_owner_stores(pool: Pool) -> None:
    await make(pool)
    run = await start(pool)
    await runs.commit(pool, [part(run, Record(1, "root"), Record(2, "bad", "failure"))])
    assert (await run_reads.cancel_run(pool, "org_a", run.id)).status == "cancelled"
    assert await runs.commit(pool, [part(run, Record(3, "late"))]) == [None]


async def test_publish_checks_the_version(pool: Pool) -> None:
    await make(pool)
    same = await workflows.update_workflow(
        pool, "org_a", "wf_1", by="u", definition={"nodes": {"root": {"payload": {}, "type": "manual"}}}
    )
    assert (same.version, same.has_draft, same.trigger_secret) == (1, False, "s-wf_1")
    new = await workflows.update_workflow(pool, "org_a", "wf_1", by="u", definition={"nodes": {}})
    assert (new.version, new.has_draft) == (2, True)
    with pytest.raises(Conflict):
        await live(pool, expected_version=1)
    assert (await live(pool, expected_version=2)).live_version == 2
    back = await workflows.rollback(pool, "org_a", "wf_1", 1, by="u")
    assert (back.version, len(await workflows.list_versions(pool, "org_a", "wf_1"))) == (3, 3)
    (target,) = await webhooks.targets_of_secret(pool, "s-wf_1")
    assert (target.org_id, target.workflow_id, target.version, target.node_id) == ("org_a", "wf_1", 2, "root")
    assert (await workflows.archive(pool, "org_a", "wf_1", by="u")).status == "archived"
    assert await workflows.list_workflows(pool, "org_a") == []


async def test_an_owner_sees_what_others_hold_and_what_is_asked_of_it(pool: Pool) -> None:
    await leases.acquire_free(pool, ["master:m1", "evm:1", "evm:2"], "m1", 60)
    await leases.acquire_free(pool, ["master:m2", "evm:3"], "m2", 60)
    await leases.acquire_free(pool, ["evm:4"], "m3", -1)
    await leases.ask(pool, ["evm:1", "evm:3", "evm:4"], "m2")
    seen = await leases.others(pool, "m1", "master:")
    assert (seen.present, set(seen.held), seen.asked) == (["m2"], {"evm:3"}, {"evm:1": "m2"})
    theirs = await leases.others(pool, "m2", "master:")
    assert {name: one.asked_by for name, one in theirs.held.items()} == {"evm:1": "m2", "evm:2": ""}
    assert 55 < theirs.held["evm:1"].left_s <= 60
    await leases.release(pool, "evm:1", "m1")
    assert set(await leases.acquire_free(pool, ["evm:1"], "m3", 60)) == {"evm:1"}
    assert (await leases.others(pool, "m3", "master:")).asked == {}, (
        "what was asked of one holder is not asked of another"
    )


async def test_only_what_dead_owners_left_is_forgotten(pool: Pool) -> None:
    await leases.acquire_free(pool, ["master:m1", "evm:1"], "m1", -7200)
    await leases.acquire_free(pool, ["master:m2"], "m2", -60)
    await leases.acquire_free(pool, ["master:m3"], "m3", 60)
    await leases.forget_dead(pool, "master:")
    await leases.leave(pool, "master:m3", "m1")
    names = [row["name"] for row in await pool.fetch("select name from leases order by 1")]
    assert names == ["evm:1", "master:m2", "master:m3"]
    await leases.leave(pool, "master:m3", "m3")
    assert await pool.fetchval("select count(*) from leases where name = 'master:m3'") == 0
