"""The master's table and its tick: what cannot be read is set aside, differences are found and repaired."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from b3os.detect.patterns import compile_pattern
from b3os.errors import BadInput
from b3os.store import triggers, workflows
from b3os.store.pool import Pool, open_pool
from b3os.store.triggers import TriggerRow
from b3os.store.waits import WaitTarget
from services.master.refresh import Refresh
from services.master.table import Table
from tests.store.rows import make_workflow
from tests.trigger_records import compiled, record

ETH = {"chainId": 1, "walletAddress": "0x" + "11" * 20}


class Listener:
    """A family that keeps what it is told."""

    types = frozenset({"cronjob", "evm-log"})

    def __init__(self) -> None:
        self.held: dict[int, TriggerRow] = {}

    def put(self, slot: int, row: TriggerRow) -> None:
        if "broken" in row.payload:
            raise TypeError("a bug of ours")
        if "bad" in row.payload:
            raise BadInput("bad payload", code=400330)
        self.held[slot] = row

    def drop(self, slot: int) -> None:
        self.held.pop(slot, None)

    def wanted(self) -> tuple[Any, ...]:
        return ()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def table(listener: Listener) -> Table:
    table = Table()
    table.follow([listener])
    return table


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url, max_size=8)
    yield pool
    await pool.close()


def test_a_family_hears_of_its_types_and_the_index_of_patterns(table: Table, listener: Listener) -> None:
    table.apply(record("a", "cronjob", {"n": 1}) + record("b", "manual") + compiled("c", "eth-send", ETH))
    assert [row.workflow_id for row in listener.held.values()] == ["a"]
    assert table.index.slots_on(1) == [table.slot_of(("org_a", "c", "root"))]
    assert table.sizes() == {"cronjob": 1, "manual": 1, "eth-send": 1}
    table.apply(record("a", "cronjob", {"n": 2}))
    assert [row.payload for row in listener.held.values()] == [{"n": 2}]
    table.apply(record("a", "manual") + record("c", active=False))
    assert listener.held == {}
    assert table.index.slots_on(1) == []


def test_a_row_that_cannot_be_read_is_set_aside_and_stops_nobody(table: Table, listener: Listener) -> None:
    table.apply(
        record("p", "eth-send", pattern=b"\1\7garbage")
        + record("l", "cronjob", [1])
        + record("r", "cronjob", {"bad": 1})
        + record("good", "cronjob", {"n": 1})
    )
    assert [row.workflow_id for row in listener.held.values()] == ["good"]
    found, cured = table.take_news()
    assert {(one.name[1], one.reason) for one in found} == {("p", "pattern"), ("l", "payload"), ("r", "payload")}
    assert cured == []
    table.apply(record("r", "cronjob", {"n": 2}) + record("l", active=False))
    found, cured = table.take_news()
    assert found == []
    assert sorted(name[1] for name in cured) == ["l", "r"]
    assert [one.name[1] for one in table.quarantined.values()] == ["p"]


def test_a_good_trigger_that_goes_bad_listens_no_more(table: Table, listener: Listener) -> None:
    table.apply(record("a", "cronjob", {"n": 1}) + compiled("b", "eth-send", ETH))
    table.apply(record("a", "cronjob", {"bad": 1}) + record("b", "eth-send", pattern=b"\1"))
    assert listener.held == {}
    assert table.index.slots_on(1) == []


async def started(pool: Pool, table: Table) -> tuple[Refresh, list[int]]:
    wakes: list[int] = []
    refresh = Refresh(pool, table, lambda: wakes.append(1))
    await refresh.start()
    return refresh, wakes


async def compare(refresh: Refresh) -> None:
    refresh.check.begin()
    passes = refresh.check.passes
    for _ in range(20):
        await refresh.tick()
        if refresh.check.passes > passes:
            return
    raise AssertionError("the comparison does not end")


async def test_ticks_take_changes_and_tell_problems(pool: Pool, table: Table) -> None:
    await make_workflow(pool, "wf_1")
    refresh, wakes = await started(pool, table)
    assert (len(table), await refresh.tick(), wakes) == (1, 0, [])
    damaged = workflows.PublishedTrigger("root", "eth-send", ETH, b"\1\1damaged")
    await workflows.publish(pool, "org_a", "wf_1", triggers=[damaged], by="u", new_secret=lambda: "s")
    assert (await refresh.tick(), wakes) == (1, [1])
    [problem] = await triggers.problems_of(pool, "org_a", "wf_1")
    assert problem.reason == "pattern"
    whole = msgspec.structs.replace(damaged, pattern=compile_pattern("eth-send", ETH))
    await workflows.publish(pool, "org_a", "wf_1", triggers=[whole], by="u", new_secret=lambda: "s")
    await refresh.tick()
    assert await triggers.problems_of(pool, "org_a", "wf_1") == []
    assert table.index.has_keys(1, 2)


async def test_a_comparison_finds_nothing_in_a_true_index(
    pool: Pool, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        await make_workflow(pool, f"wf_{number}")
    refresh, _ = await started(pool, table)
    await workflows.pause(pool, "org_a", "wf_3", by="u")
    await compare(refresh)
    await compare(refresh)
    assert "differed" not in caplog.text
    assert len(table) == 4


async def test_planted_differences_are_found_told_and_repaired(
    pool: Pool, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("wf_same", "wf_lost", "wf_other"):
        await make_workflow(pool, name)
    refresh, _ = await started(pool, table)
    table.apply(record("wf_ghost") + record("wf_lost", active=False) + record("wf_other", version=7))
    await compare(refresh)
    told = [(r.__dict__["kind"], r.__dict__["workflow"]) for r in caplog.records if "differed" in r.message]
    assert sorted(told) == [("differs", "wf_lost"), ("differs", "wf_other"), ("gone", "wf_ghost")]
    assert table.slot_of(("org_a", "wf_ghost", "root")) is None
    assert table.slot_of(("org_a", "wf_lost", "root")) is not None
    caplog.clear()
    await compare(refresh)
    assert "differed" not in caplog.text


async def test_a_change_that_the_feed_has_not_read_is_no_difference(
    pool: Pool, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    await make_workflow(pool, "wf_1")
    refresh, _ = await started(pool, table)
    assert refresh._cursor is not None
    behind = refresh._cursor
    await make_workflow(pool, "wf_2")
    refresh.check.begin()
    await refresh.check.step(behind, 1.0)
    assert refresh.check.passes == 1
    assert "differed" not in caplog.text
    assert await refresh.tick() == 1


def test_a_payload_cannot_pretend_to_be_a_wait_nor_break_the_loop(table: Table, listener: Listener) -> None:
    table.apply(
        record("a", "cronjob", {"$wait": ["run_1", "hold", ""]})
        + record("b", "cronjob", {"$wait": 5})
        + record("c", "cronjob", {"broken": 1})
        + record("d", "cronjob", {"n": 1})
    )
    assert [(row.workflow_id, row.wait) for row in listener.held.values()] == [("a", None), ("b", None), ("d", None)]
    assert [one.name[1] for one in table.quarantined.values()] == ["c"]


def test_a_wait_keeps_the_node_that_it_completes(table: Table, listener: Listener) -> None:
    target = ("run_1", "hold", "each:2")
    table.apply(record("a", "cronjob", {"n": 1}, node="wait:run_1:each:2:hold", wait=target))
    [row] = listener.held.values()
    assert row.wait == WaitTarget(*target)
    table.apply(record("a", "cronjob", {"n": 1}, node="wait:run_1:each:2:hold"))
    [row] = listener.held.values()
    assert row.wait is None
