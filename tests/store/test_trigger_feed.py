"""The change feed of triggers: every change once, in whatever order transactions commit, at a cost of the changes."""

from collections.abc import AsyncIterator

import pytest

from b3os._speedups.trigger_rows import TriggerRows
from b3os.detect.patterns import compile_pattern
from b3os.store import triggers, workflows
from b3os.store.pool import Pool, as_org, open_pool
from tests.store.rows import make_workflow

ETH = {"chainId": 1, "walletAddress": "0x" + "11" * 20}


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url, max_size=8)
    yield pool
    await pool.close()


class Reader:
    """Follows the feed as a master does, and notes what each read brought."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.rows = TriggerRows()
        self.cursor = triggers.FeedCursor("1:1:")
        self.seen: list[tuple[str, bool]] = []

    async def start(self) -> "Reader":
        self.cursor = await triggers.read_all(self.pool, lambda records: self._take(records))
        return self

    async def read(self) -> bytes:
        records, self.cursor = await triggers.read_changes(self.pool, self.cursor)
        self._take(records)
        return records

    def _take(self, records: bytes) -> None:
        names = {slot: self.name(slot) for slot in range(len(self.rows))}
        for slot in self.rows.apply(records).slots:
            is_active = self.rows.get(slot) is not None
            self.seen.append((self.name(slot) if is_active else names[slot], is_active))

    def name(self, slot: int) -> str:
        fields = self.rows.get(slot)
        return "" if fields is None else fields[1]


async def test_a_start_reads_every_active_trigger(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    await make_workflow(pool, "wf_2")
    await workflows.pause(pool, "org_a", "wf_2", by="u")
    reader = await Reader(pool).start()
    assert reader.seen == [("wf_1", True)]
    assert await reader.read() == b""


async def test_a_transaction_held_open_is_neither_missed_nor_read_twice(pool: Pool) -> None:
    """It begins first, others commit over 300 ticks (30 s of the loop), and it commits last."""
    await make_workflow(pool, "wf_held")
    reader = await Reader(pool).start()
    async with pool.acquire() as slow:
        held = slow.transaction()
        await held.start()
        await workflows.pause(slow, "org_a", "wf_held", by="u")
        for tick in range(300):
            if tick % 50 == 0:
                await make_workflow(pool, f"wf_{tick}")
            await reader.read()
        assert reader.seen[1:] == [(f"wf_{tick}", True) for tick in range(0, 300, 50)]
        await held.commit()
    for _ in range(3):
        await reader.read()
    assert reader.seen[7:] == [("wf_held", False)]


async def test_what_rolls_back_is_never_seen(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    reader = await Reader(pool).start()
    async with pool.acquire() as slow:
        held = slow.transaction()
        await held.start()
        await workflows.pause(slow, "org_a", "wf_1", by="u")
        await reader.read()
        await held.rollback()
    assert await reader.read() == b""


async def test_an_open_transaction_does_not_make_old_changes_come_again(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    reader = await Reader(pool).start()
    async with pool.acquire() as slow:
        held = slow.transaction()
        await held.start()
        await slow.execute("select pg_current_xact_id()")
        await pool.execute(
            "insert into triggers (org_id, workflow_id, node_id, version, type) "
            "select 'org_a', 'many_' || n, 'root', 1, 'manual' from generate_series(1, 20000) n"
        )
        first = await reader.read()
        assert len(reader.rows) == 20_001
        assert len(first) > 1_000_000
        for _ in range(5):
            assert await reader.read() == b""
        plan = await pool.fetch(
            f"explain (analyze, costs off, timing off) {triggers._SQL['read_changes']}", *reader.cursor.unseen
        )
        assert not [row[0] for row in plan if "Seq Scan" in row[0] or "Rows Removed" in row[0]]
        await held.rollback()


async def test_a_restored_dump_is_not_news_for_ever(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    await pool.execute("update triggers set xid = '999999999'")
    reader = await Reader(pool).start()
    assert reader.seen == [("wf_1", True)]
    assert await reader.read() == b""


async def test_a_pattern_is_stored_and_comes_instead_of_the_payload(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    pattern = compile_pattern("eth-send", ETH)
    trigger = workflows.PublishedTrigger("root", "eth-send", ETH, pattern)
    await workflows.publish(pool, "org_a", "wf_1", triggers=[trigger], by="u", new_secret=lambda: "s")
    reader = await Reader(pool).start()
    fields = reader.rows.get(0)
    assert fields is not None
    assert fields[6:] == (pattern, None, None)


async def test_who_changes_a_payload_alone_leaves_no_pattern_that_does_not_fit(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    trigger = workflows.PublishedTrigger("root", "eth-send", ETH, compile_pattern("eth-send", ETH))
    await workflows.publish(pool, "org_a", "wf_1", triggers=[trigger], by="u", new_secret=lambda: "s")
    await pool.execute("update triggers set version = 9")
    assert await pool.fetchval("select length(pattern) from triggers") > 0
    await pool.execute("""update triggers set payload = '{"chainId": 2}', xid = pg_current_xact_id()""")
    assert await pool.fetchval("select length(pattern) from triggers") == 0


async def test_problems_are_told_to_their_organization_only(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")
    name = ("org_a", "wf_1", "root")
    await triggers.save_problems(pool, [(name, "pattern", "damaged")], [], is_complete=True)
    async with as_org(pool, "org_a") as db:
        [problem] = await triggers.problems_of(db, "org_a", "wf_1")
        assert (problem.node_id, problem.reason, problem.message) == ("root", "pattern", "damaged")
    async with as_org(pool, "org_b") as db:
        assert await triggers.problems_of(db, "org_a", "wf_1") == []
    await triggers.save_problems(pool, [], [name], is_complete=False)
    assert await triggers.problems_of(pool, "org_a", "wf_1") == []


async def test_a_trigger_that_turns_to_another_place_listens_anew(pool: Pool) -> None:
    await make_workflow(pool, "wf_1")

    async def published(**payload: object) -> object:
        one = workflows.PublishedTrigger("root", "slack-mentions", payload)
        await workflows.publish(pool, "org_a", "wf_1", triggers=[one], by="u", new_secret=lambda: "s")
        return await pool.fetchval("select active_since from triggers where workflow_id = 'wf_1'")

    connector = {"type": "slack", "id": "conn_1"}
    first = await published(channelId="C1", connector=connector)
    assert await published(channelId="C1", connector=connector, note="other") == first
    second = await published(channelId="C2", connector=connector)
    third = await published(channelId="C2", connector={"type": "slack", "id": "conn_2"})
    assert first != second != third != first


@pytest.mark.parametrize(("kind", "field"), [("polymarket-market-trade", "marketId"), ("polymarket-user-bet", "user")])
async def test_a_trigger_that_turns_to_another_market_or_user_listens_anew(pool: Pool, kind: str, field: str) -> None:
    await make_workflow(pool, "wf_1")

    async def published(named: str, **more: object) -> object:
        one = workflows.PublishedTrigger("root", kind, {field: named, **more})
        await workflows.publish(pool, "org_a", "wf_1", triggers=[one], by="u", new_secret=lambda: "s")
        return await pool.fetchval("select active_since from triggers where workflow_id = 'wf_1'")

    first = await published("rain")
    assert await published("rain", minSize=5) == first
    assert await published("snow") != first


async def test_problems_of_sources_outlive_the_start_of_a_master_and_are_taken_back_alone(pool: Pool) -> None:
    name, other = ("org_a", "wf_1", "root"), ("org_a", "wf_2", "root")
    await make_workflow(pool, "wf_1")
    await make_workflow(pool, "wf_2")
    found = [(name, "source", "no"), (other, "payload", "odd")]
    await triggers.save_problems(pool, found, [], is_complete=False)
    await triggers.save_problems(pool, [found[1]], [], is_complete=True)
    assert [one.reason for one in await triggers.problems_of(pool, "org_a", "wf_1")] == ["source"]
    await triggers.cure(pool, [name, other], "source")
    assert await triggers.problems_of(pool, "org_a", "wf_1") == []
    assert [one.reason for one in await triggers.problems_of(pool, "org_a", "wf_2")] == ["payload"]
