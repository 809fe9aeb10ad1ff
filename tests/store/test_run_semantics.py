"""Attempts, timers that wake, answers meanwhile, retries from a node and the facts of why, on real PostgreSQL."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from b3os.errors import Conflict
from b3os.ids import receipt_key
from b3os.run.records import NodeRecord
from b3os.run.why import Facts
from b3os.store import admission, run_reads, runs, sweep
from b3os.store.pool import Pool, as_org, open_pool
from tests.store.rows import make_workflow


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    found = await open_pool(pg_url, max_size=4)
    await make_workflow(found, "wf_1")
    yield found
    await found.close()


async def start(pool: Pool, run_id: str = "run_1") -> runs.RunRow:
    key = receipt_key("wf_1", "root", run_id)
    await admission.accept(pool, [admission.Proposal("org_a", "wf_1", 1, "root", key, run_id, "test", {}, 1000)])
    [run] = await runs.claim(pool, [run_id], "w1", 60)
    return run


def record(seq: int, node_id: str, status: str, **more: Any) -> NodeRecord:
    fields = {"path": "", "type": "act", "input": None, "result": None, "branch": None, "started_ms": 1, **more}
    finished = None if status in ("waiting", "scheduled", "running") else 2
    return NodeRecord(seq=seq, node_id=node_id, status=status, finished_ms=finished, **fields)


async def store(pool: Pool, run: runs.RunRow, *records: NodeRecord, **more: Any) -> None:
    item = runs.RunCommit(org_id=run.org_id, run_id=run.id, epoch=run.epoch, records=records, **more)
    assert await runs.commit(pool, [item]) != [None]


async def stored(pool: Pool, run_id: str = "run_1") -> list[tuple[str, str, int]]:
    return [(r["node_id"], r["status"], r["attempt"]) for r in await runs.load_records(pool, "org_a", run_id)]


async def test_next_attempt_takes_the_place_of_the_last_and_the_first_end_stays(pool: Pool) -> None:
    run = await start(pool)
    for attempt in (2, 3, 3, 2):
        await store(pool, run, record(attempt, "a", "scheduled", attempt=attempt))
    assert await stored(pool) == [("a", "scheduled", 3)]
    await store(pool, run, record(5, "a", "success", attempt=3), record(6, "a", "failure", attempt=4))
    assert await stored(pool) == [("a", "scheduled", 3), ("a", "success", 3)]


async def test_wait_that_nobody_answers_fails_its_node_where_no_child_is_for_that(pool: Pool) -> None:
    run = await start(pool)
    timer = runs.TimerRow(node_id="w", path="", kind="wait_fail", wake_in_ms=0)
    await store(pool, run, record(1, "w", "waiting", type="wait"), timers=[timer], status="waiting", release=True)
    assert await fire(pool) == ["run_1"]
    last = (await runs.load_records(pool, "org_a", "run_1"))[-1]
    assert (last["status"], last["branch"], last["result"]["error"]["code"]) == ("failure", None, "400350")


async def fire(pool: Pool) -> list[str]:
    return [one.id for one in (await sweep.fire_due_timers(pool, 10))[0]]


@pytest.mark.parametrize("kind", ["retry", "deadline"])
async def test_timer_of_a_retry_or_deadline_wakes_the_run_once_and_completes_nothing(pool: Pool, kind: str) -> None:
    run = await start(pool)
    timer = runs.TimerRow(node_id="a" if kind == "retry" else "", path="", kind=kind, wake_in_ms=0)
    await store(pool, run, record(1, "a", "scheduled", attempt=2), timers=[timer], status="waiting", release=True)
    assert await runs.claim(pool, ["run_1"], "w2", 60) != []
    await pool.execute("update runs set status = 'waiting', owner = null")
    assert await fire(pool) == ["run_1"]
    assert await fire(pool) == []
    assert (await run_reads.get_run(pool, "org_a", "run_1")).status == "running"
    assert await stored(pool) == [("a", "scheduled", 2)]


async def test_later_retry_moves_the_timer_of_an_earlier_one(pool: Pool) -> None:
    run = await start(pool)
    for attempt, pause in ((2, 0), (3, 3_600_000)):
        timer = runs.TimerRow(node_id="a", path="", kind="retry", wake_in_ms=pause)
        await store(pool, run, record(attempt, "a", "scheduled", attempt=attempt), timers=[timer])
    assert await fire(pool) == []


async def test_one_commit_may_name_a_timer_or_a_record_twice(pool: Pool) -> None:
    run = await start(pool)
    deadline = runs.TimerRow(node_id="", path="", kind="deadline", wake_in_ms=0)
    await store(pool, run, record(1, "a", "success"), record(2, "a", "failure"), timers=[deadline, deadline])
    assert await stored(pool) == [("a", "success", 1)]
    assert await fire(pool) == []  # held: its worker looks at the clock itself


async def test_answers_are_the_ends_of_the_nodes_that_are_asked_for(pool: Pool) -> None:
    run = await start(pool)
    waits = [record(1, "w", "waiting", type="wait", path="l:0"), record(2, "v", "waiting", type="wait")]
    await store(pool, run, *waits)
    assert await runs.load_answers(pool, "org_a", "run_1", [("w", "l:0"), ("v", "")]) == []
    assert await runs.resume_wait(pool, "org_a", "run_1", "w", "l:0", {"n": 1})
    [found] = await runs.load_answers(pool, "org_a", "run_1", [("w", "l:0"), ("v", "")])
    assert msgspec.convert(found, NodeRecord).result["data"] == {"n": 1}
    assert await runs.load_answers(pool, "org_b", "run_1", [("w", "l:0")]) == []


def retry(source: str = "run_1", **more: Any) -> run_reads.Retry:
    fields: dict[str, Any] = {"id": "run_2", "by": "u", "now_ms": 5, "version": 1, "kept": [], **more}
    return run_reads.Retry(org_id="org_a", source_id=source, **fields)


async def test_retry_copies_what_is_kept_and_nothing_else(pool: Pool) -> None:
    run = await start(pool)
    items = {"array": [1, 2]}
    await store(
        pool, run, record(1, "l", "running", type="for-each", input=items),
        record(2, "a", "success", path="l:0", attempt=3), record(3, "b", "failure", path="l:0"), status="failure",
        release=True,
    )  # fmt: skip
    edited = {"node_id": "b", "path": "l:0", "input": {"x": 1}}
    made = await run_reads.retry_run(
        pool, retry(kept=[("l", "", False), ("a", "l:0", True), ("gone", "", True)], edited=edited, from_node=True)
    )
    assert (made.status, made.source_run_id, made.trigger_source) == ("running", "run_1", "retry")
    assert await stored(pool, "run_2") == [("l", "running", 1), ("a", "success", 3)]
    [claimed] = await runs.claim(pool, ["run_2"], "w1", 60)
    assert claimed.edited == edited
    assert (await runs.load_records(pool, "org_a", "run_2"))[0]["input"] == items
    await store(pool, claimed, status="failure", release=True)
    await run_reads.retry_run(pool, retry("run_2", id="run_3"))
    assert await pool.fetchval("select edited from runs where id = 'run_3'") == edited, "the same node runs again"
    await run_reads.retry_run(pool, retry("run_2", id="run_4", from_node=True))
    assert await pool.fetchval("select edited from runs where id = 'run_4'") is None


async def test_only_an_ended_run_is_retried_and_one_that_succeeded_only_from_a_node(pool: Pool) -> None:
    run = await start(pool)
    with pytest.raises(Conflict) as refused:
        await run_reads.retry_run(pool, retry(from_node=True))
    assert refused.value.code == 409010
    await store(pool, run, status="success", release=True)
    with pytest.raises(Conflict):
        await run_reads.retry_run(pool, retry())
    made = await run_reads.retry_run(pool, retry(from_node=True, version=7, trigger_result={"body": 1}))
    assert (made.workflow_version, made.trigger_result) == (7, {"body": 1})


async def test_facts_are_those_of_the_run_and_of_its_organization_only(pool: Pool) -> None:
    run = await start(pool)
    timer = runs.TimerRow(node_id="a", path="", kind="retry", wake_in_ms=60_000)
    error = {"code": "X", "message": "m" * 900, "retryable": True}
    await store(
        pool, run, record(1, "l", "running", type="for-each", input={"array": [1, 2]}),
        record(2, "odd", "failure", type="for-each", input={"array": "no list"}),
        record(3, "a", "scheduled", attempt=2, result={"error": error, "retryAtMs": 99}), timers=[timer],
    )  # fmt: skip
    async with as_org(pool, "org_a") as db:
        raw = await run_reads.load_facts(db, "org_a", "run_1")
    assert raw.pop("definition")["nodes"].keys() == {"root"}
    facts = msgspec.convert(raw, Facts)
    assert (facts.status, facts.has_owner, facts.live_workers, facts.started_ms) == ("running", True, 1, 1000)
    assert 50_000 < (facts.owner_until_ms or 0) - facts.now_ms <= 60_000
    assert [(t.node_id, t.kind, 59_000 < t.due_ms - facts.now_ms <= 60_000) for t in facts.timers] == [
        ("a", "retry", True)
    ]
    assert [(h.node_id, h.items, h.retry_ms, h.is_retryable, len(h.error_message)) for h in facts.heads] == [
        ("l", 2, None, False, 0), ("odd", None, None, False, 0), ("a", None, 99, True, 500),
    ]  # fmt: skip
