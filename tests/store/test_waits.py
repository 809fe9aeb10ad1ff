"""Waits: who answers first, too late, a thousand at once; and waits that an event of a trigger ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from b3os.ids import receipt_key
from b3os.store import admission, run_reads, runs, sweep, triggers, waits, workflows
from b3os.store.pool import Pool, open_pool
from b3os.store.triggers import TriggerRow
from b3os.store.waits import WaitRow, WaitTarget
from services.master.admit import Event, propose
from services.master.table import Table
from tests.store.rows import make_workflow
from tests.store.test_engine import Record

CONFIG = {"chainId": 1, "address": "0x" + "11" * 20}


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url, max_size=16)
    await make_workflow(pool, "wf_a")
    yield pool
    await pool.close()


async def begin(pool: Pool, name: str = "1") -> runs.RunRow:
    key = receipt_key("wf_a", "root", name)
    await admission.accept(pool, [admission.Proposal("org_a", "wf_a", 1, "root", key, f"run_{name}", "t", {}, 1)])
    (run,) = await runs.claim(pool, [f"run_{name}"], "w1", 60)
    return run


async def wait(pool: Pool, run: runs.RunRow, *, wake_in_ms: int = 60_000, seq: int = 1, **more: Any) -> None:
    node = f"w{seq}"
    item = runs.RunCommit(
        org_id="org_a", run_id=run.id, epoch=run.epoch, records=[Record(seq, node, "waiting", type="wait")],
        timers=[runs.TimerRow(node, "", "wait", wake_in_ms)], waits=[WaitRow(node, "", "evm-log", CONFIG)],
        status="waiting", release=True, **more,
    )  # fmt: skip
    assert await runs.commit(pool, [item]) == [0]


class Heard:
    """The waits that a master knows of: those at its start, and what changed since."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._table = Table()
        self._cursor: triggers.FeedCursor | None = None

    async def rows(self) -> list[TriggerRow]:
        if self._cursor is None:
            self._cursor = await triggers.read_all(self._pool, self._table.apply)
        else:
            records, self._cursor = await triggers.read_changes(self._pool, self._cursor)
            self._table.apply(records)
        held = [self._table.row(slot) for slot in range(len(self._table) + 10)]
        return [row for row in held if row is not None and row.type == "evm-log"]


async def listening(pool: Pool) -> list[WaitTarget | None]:
    return [row.wait for row in await Heard(pool).rows()]


async def test_of_a_thousand_answers_one_wins_and_the_rest_are_skipped(pool: Pool) -> None:
    run = await begin(pool)
    await wait(pool, run)
    won = await asyncio.gather(*[runs.resume_wait(pool, "org_a", run.id, "w1", "", {"n": n}) for n in range(1000)])
    (winner,) = [n for n, woken in enumerate(won) if woken is not None]
    (_, last) = await runs.load_records(pool, "org_a", run.id)
    assert last["result"]["data"] == last["result"]["triggerResult"] == {"n": winner}
    assert (last["result"]["source"], last["branch"]) == ("manual", "resumed")
    assert await pool.fetchval("select count(*) from node_runs where final") == 1


async def test_an_answer_after_the_time_is_up_is_skipped_before_the_timer_fires_and_after(pool: Pool) -> None:
    run = await begin(pool)
    await wait(pool, run, wake_in_ms=0)
    heard = Heard(pool)
    assert [row.wait for row in await heard.rows()] == [WaitTarget(run.id, "w1", "")]
    assert not await runs.resume_wait(pool, "org_a", run.id, "w1", "", {})
    ready, count = await sweep.fire_due_timers(pool, 10)
    assert ([one.id for one in ready], count) == ([run.id], 1)
    assert not await runs.resume_wait(pool, "org_a", run.id, "w1", "", {})
    assert (await runs.load_records(pool, "org_a", run.id))[-1]["branch"] == "timed_out"
    assert await heard.rows() == []


async def test_a_delay_is_not_ended_by_an_answer(pool: Pool) -> None:
    run = await begin(pool)
    item = runs.RunCommit(
        org_id="org_a", run_id=run.id, epoch=run.epoch, records=[Record(1, "d", "waiting", type="delay")],
        timers=[runs.TimerRow("d", "", "delay", 60_000)],
    )  # fmt: skip
    await runs.commit(pool, [item])
    assert not await runs.resume_wait(pool, "org_a", run.id, "d", "", {})


async def test_an_event_completes_the_waiting_node_and_begins_no_run(pool: Pool) -> None:
    run = await begin(pool)
    await wait(pool, run)
    heard = Heard(pool)
    (row,) = await heard.rows()
    assert (row.type, row.payload, row.wait) == ("evm-log", CONFIG, WaitTarget(run.id, "w1", ""))
    assert row.active_since_ms > 0, "what happened before it waited does not end it"
    proposals = [propose(Event(row, f"evm:{n}", {"n": n}, 5)) for n in range(3)]
    batches = await asyncio.gather(*(admission.accept(pool, [*proposals, proposals[0]]) for _ in range(4)))
    told = [outcome.status for batch in batches for outcome in batch]
    assert told.count("resumed") == 1
    assert set(told) <= {"resumed", "skipped", "duplicate"}
    assert {outcome.run_id for batch in batches for outcome in batch} == {run.id}
    last = (await runs.load_records(pool, "org_a", run.id))[-1]
    assert (last["branch"], last["result"]["source"]) == ("resumed", "evm-log")
    assert await pool.fetchval("select count(*) from runs") == 1
    assert await pool.fetchval("select count(*) from timers") == 0
    assert await heard.rows() == []
    assert await listening(pool) == []


async def test_waits_and_starts_share_a_batch_with_the_cursor(pool: Pool) -> None:
    run = await begin(pool)
    await wait(pool, run)
    (row,) = await Heard(pool).rows()
    key = receipt_key("wf_a", "root", "x")
    start = admission.Proposal("org_a", "wf_a", 1, "root", key, "run_x", "t", {}, 1)
    outcomes = await admission.accept(pool, [start, propose(Event(row, "evm:1", {}, 5)), start])
    assert [(o.run_id, o.status) for o in outcomes] == [
        ("run_x", "accepted"), (run.id, "resumed"), ("run_x", "duplicate"),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["cancelled", "failure"])
async def test_the_end_of_a_run_ends_its_listening(pool: Pool, end: str) -> None:
    run, other = await begin(pool), await begin(pool, "2")
    await wait(pool, run)
    await wait(pool, other)
    if end == "cancelled":
        await run_reads.cancel_run(pool, "org_a", run.id)
    else:
        (again,) = await runs.claim(pool, [run.id], "w2", 60)
        item = runs.RunCommit(org_id="org_a", run_id=run.id, epoch=again.epoch, status="failure", release=True)
        assert await runs.commit(pool, [item]) == [0]
    assert await listening(pool) == [WaitTarget(other.id, "w1", "")]
    await pool.execute("update triggers set active_since = now() - interval '2 hours'")
    assert await waits.remove_waits(pool) == 1
    assert await pool.fetchval("select count(*) from triggers where wait_run_id is not null") == 1


async def test_publishing_and_pausing_leave_waits_alone(pool: Pool) -> None:
    run = await begin(pool)
    await wait(pool, run)
    await workflows.pause(pool, "org_a", "wf_a", by="u")
    assert await listening(pool) == [WaitTarget(run.id, "w1", "")]
    await runs.resume_wait(pool, "org_a", run.id, "w1", "", {})
    await workflows.resume(pool, "org_a", "wf_a", by="u")
    trigger = workflows.PublishedTrigger("root", "manual", {})
    await workflows.publish(pool, "org_a", "wf_a", triggers=[trigger], by="u", new_secret=str)
    assert await listening(pool) == []


async def test_a_stale_owner_begins_no_wait(pool: Pool) -> None:
    run = await begin(pool)
    await pool.execute("update runs set epoch = epoch + 1")
    item = runs.RunCommit(
        org_id="org_a", run_id=run.id, epoch=run.epoch, waits=[WaitRow("w1", "", "evm-log", CONFIG)]
    )  # fmt: skip
    assert await runs.commit(pool, [item]) == [None]
    assert await listening(pool) == []
