"""The Slack source on a real database, against a workspace that limits, refuses, forgets and lies. Time is virtual."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from b3os.errors import StaleEpoch
from b3os.queue.broker import Broker
from b3os.store import connectors, leases
from b3os.store.pool import open_pool
from services.master.keeper import Keeper
from services.master.sources.refusals import Refused
from services.master.sources.slack import Slack
from tests.emulators.slack import BOT
from tests.emulators.slack import Slack as Workspace
from tests.services.polled_case import LIMIT_S
from tests.services.polled_case import Place as Base
from tests.trigger_records import record

HISTORY, REPLIES = "conversations.history", "conversations.replies"
MENTION = f"<@{BOT}>"


class Place(Base):
    """A workspace, a database, and the masters between them."""

    @property
    def workspace(self) -> Workspace:
        found: Workspace = self.service
        return found

    async def watch(
        self, workflow: str, channel: str = "C1", connector: str = "conn_1", since_ms: int = 0, **more: Any
    ) -> None:  # fmt: skip
        """Publish a trigger, and tell every master."""
        payload = {"channelId": channel, **more}
        await self.publish(workflow, "slack-mentions", payload, connector=("slack", connector), since_ms=since_ms)
        self.workspace.channels.setdefault(channel, {})

    async def runs(self) -> list[tuple[str, str]]:
        return sorted((name, text.replace(MENTION, "").strip()) for name, text in await super().runs())


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    workspace = await Workspace().start()
    found = Place(
        workspace, await open_pool(pg_url), Broker(redis_url), make=Slack, provider="slack",
        credential={"botToken": workspace.token}, text="text",
    )  # fmt: skip
    async with found:
        yield found


async def test_a_mention_becomes_one_run_with_what_slack_said(place: Place) -> None:
    await place.watch("wf_1")
    ts = place.workspace.say("C1", f"{MENTION} hello")
    place.workspace.say("C1", "nobody is meant")
    place.workspace.say("C1", f"{MENTION} myself", user=BOT)
    await place.master.until(place.ran("hello"))
    await place.master.for_s(90)  # looked at again and again, it stays one
    (row,) = await place.pool.fetch("select * from runs")
    result = row["trigger_result"]
    assert (result["channelId"], result["userId"], result["timestamp"]) == ("C1", "U1", ts)
    assert (result["threadTs"], result["event"]) == (None, place.workspace.channels["C1"][ts])
    assert row["trigger_source"] == "slack-mentions"
    assert await place.pool.fetchval("select count(*) from receipts") == 1
    assert place.master.errors == []


async def test_one_poller_serves_every_workflow_that_watches_a_channel(place: Place) -> None:
    names = [f"wf_{number}" for number in range(5)]
    for name in names:
        await place.watch(name)
    place.workspace.say("C1", f"{MENTION} all")
    await place.master.for_s(10)
    assert await place.runs() == [(name, "all") for name in names]
    calls = len(place.workspace.called(HISTORY))
    assert calls <= 6  # one every two seconds, as for one workflow
    assert len(place.master.family.wanted()) == 1


async def test_replies_in_threads_are_found_however_old_the_parent(place: Place) -> None:
    now = time.time_ns() // 1000
    parent = place.workspace.say("C1", "old", at=now - 6 * 24 * 3600 * 10**6)
    quiet = place.workspace.say("C1", "quiet", at=now - 5 * 24 * 3600 * 10**6)
    place.workspace.say("C1", f"{MENTION} long ago", thread=quiet, at=now - 4 * 24 * 3600 * 10**6)
    await place.watch("wf_1")
    await place.master.for_s(40)
    ts = place.workspace.say("C1", f"{MENTION} in thread", thread=parent)
    await place.master.until(place.ran("in thread"))
    place.workspace.say("C1", f"{MENTION} again", thread=parent)
    await place.master.until(place.ran("in thread", "again"))
    result = await place.pool.fetchval("select trigger_result from runs where trigger_result->>'timestamp' = $1", ts)
    assert result["threadTs"] == parent
    assert {call["ts"] for call in place.workspace.called(REPLIES)} == {parent}


async def test_a_thread_is_read_again_only_when_its_parent_tells_of_more(place: Place) -> None:
    await place.watch("wf_1")
    parent = place.workspace.say("C1", "parent")
    place.workspace.say("C1", f"{MENTION} a", thread=parent)
    await place.master.until(place.ran("a"))
    before = len(place.workspace.called(REPLIES))
    await place.master.for_s(200)
    assert len(place.workspace.called(REPLIES)) == before


async def test_a_reply_that_was_sent_to_the_channel_too_runs_once(place: Place) -> None:
    await place.watch("wf_1")
    parent = place.workspace.say("C1", "parent")
    place.workspace.say("C1", f"{MENTION} both", thread=parent, subtype="thread_broadcast")
    await place.master.for_s(100)
    assert place.workspace.called(REPLIES)
    assert await place.runs() == [("wf_1", "both")]


async def test_a_burst_of_many_pages_is_read_whole(place: Place) -> None:
    place.workspace.page = 7
    await place.watch("wf_1")
    texts = [f"m{number}" for number in range(60)]
    parent = place.workspace.say("C1", "parent")
    for text in texts[:40]:
        place.workspace.say("C1", f"{MENTION} {text}")
    for text in texts[40:]:
        place.workspace.say("C1", f"{MENTION} {text}", thread=parent)
    await place.master.until(place.ran(*texts))
    await place.master.for_s(60)
    assert len(await place.runs()) == 60


async def test_a_message_that_shows_up_late_is_not_lost(place: Place) -> None:
    await place.watch("wf_1", since_ms=time.time_ns() // 10**6 - 60_000)
    now = time.time_ns() // 1000
    place.workspace.say("C1", f"{MENTION} first", at=now)
    await place.master.until(place.ran("first"))
    place.workspace.say("C1", f"{MENTION} late", at=now - 20 * 10**6)
    parent = place.workspace.say("C1", "parent", at=now + 1)
    place.workspace.say("C1", f"{MENTION} reply", thread=parent, at=now + 2)
    await place.master.until(place.ran("first", "late", "reply"))
    place.workspace.say("C1", f"{MENTION} late reply", thread=parent, at=now - 10 * 10**6)
    await place.master.until(place.ran("first", "late", "reply", "late reply"))


async def test_nothing_before_the_trigger_fires_it(place: Place) -> None:
    now = time.time_ns() // 1000
    place.workspace.say("C1", f"{MENTION} before", at=now - 5 * 10**6)
    parent = place.workspace.say("C1", "parent", at=now - 5 * 10**6)
    place.workspace.say("C1", f"{MENTION} before too", thread=parent, at=now - 4 * 10**6)
    await place.watch("wf_1")
    place.workspace.say("C1", f"{MENTION} after")
    place.workspace.say("C1", f"{MENTION} after too", thread=parent)
    await place.master.until(place.ran("after", "after too"))
    later_ms = time.time_ns() // 10**6 + 5000
    await place.watch("wf_2", since_ms=later_ms)
    place.workspace.say("C1", f"{MENTION} for both", at=later_ms * 1000 + 1)
    await place.master.until(place.ran("for both", workflow="wf_2"))
    assert len(await place.runs()) == 4


async def test_a_trigger_that_the_master_heard_of_late_misses_nothing(place: Place) -> None:
    await place.watch("wf_1")
    since = time.time_ns() // 10**6
    place.workspace.say("C1", f"{MENTION} between")
    await place.master.until(place.ran("between"))
    await place.watch("wf_2", since_ms=since)
    await place.master.until(place.ran("between", workflow="wf_2"))
    assert len(await place.runs()) == 2


async def test_calls_keep_within_the_tier(place: Place) -> None:
    for number in range(10):
        await place.watch(f"wf_{number}", channel=f"C{number}")
        place.workspace.say(f"C{number}", f"{MENTION} hi")
    await place.master.for_s(120)
    for method in (HISTORY, REPLIES):
        assert len(place.workspace.called(method)) <= 101
    assert len(await place.runs()) == 10
    by_channel = {call["channel"] for call in place.workspace.called(HISTORY)[-10:]}
    assert len(by_channel) == 10  # none waits for another


async def test_retry_after_is_obeyed(place: Place) -> None:
    await place.watch("wf_1")
    await place.master.for_s(5)
    place.workspace.fault("limit", method=HISTORY, retry_after="45")
    place.workspace.say("C1", f"{MENTION} hi")
    place.master.called.clear()
    await place.master.until(place.ran("hi"))
    limited, after = place.master.called[:2]
    assert 45 <= after - limited < 47
    assert place.master.errors == []


@pytest.mark.parametrize(
    ("kind", "more"),
    [("fail", {"status": 502}), ("fail", {"status": 500}), ("fail", {"status": 404}), ("garbage", {"text": "{"}),
     ("garbage", {"text": "[]"}), ("garbage", {"text": '{"ok":true,"messages":{}}'}), ("garbage", {"text": ""}),
     ("garbage", {"text": '{"ok":true,"messages":[],"has_more":true}'}), ("garbage", {"text": '{"ok":"yes"}'}),
     ("garbage", {"text": "[" * 100_000}), ("cut", {}), ("refuse", {"error": "internal_error"}),
     ("refuse", {"error": "fatal_error"}), ("refuse", {"error": ""})],
)  # fmt: skip
async def test_a_failing_service_loses_and_repeats_nothing(place: Place, kind: str, more: dict[str, Any]) -> None:
    place.workspace.page = 2
    await place.watch("wf_1")
    for number in range(5):
        place.workspace.say("C1", f"{MENTION} {number}")
    await place.master.step(place.master.source())  # the first of three pages
    place.workspace.fault(kind, times=2, **more)
    await place.master.until(place.ran("0", "1", "2", "3", "4"))
    parent = place.workspace.say("C1", "parent")
    place.workspace.say("C1", f"{MENTION} reply", thread=parent)
    place.workspace.fault(kind, method=REPLIES, times=2, **more)
    await place.master.until(place.ran("0", "1", "2", "3", "4", "reply"))
    assert len(place.master.errors) == 4


async def test_a_channel_that_cannot_be_read_holds_no_other_up(place: Place) -> None:
    await place.watch("wf_1")
    await place.watch("wf_2", channel="C2")
    place.workspace.closed["C1"] = "fatal_error"
    for number in range(3):
        place.workspace.say("C2", f"{MENTION} {number}")
        await place.master.until(place.ran(*(str(one) for one in range(number + 1)), workflow="wf_2"))
    assert place.master.errors


async def test_a_page_that_slack_forgot_is_looked_for_from_the_start(place: Place) -> None:
    place.workspace.page = 2
    await place.watch("wf_1")
    for number in range(4):
        place.workspace.say("C1", f"{MENTION} {number}")
    await place.master.step(place.master.source())
    place.workspace.fault("refuse", error="invalid_cursor")
    await place.master.until(place.ran("0", "1", "2", "3"))


async def test_a_thread_whose_parent_was_deleted_holds_nothing_up(place: Place) -> None:
    await place.watch("wf_1")
    gone, kept = place.workspace.say("C1", "gone"), place.workspace.say("C1", "kept")
    place.workspace.say("C1", f"{MENTION} a", thread=gone)
    place.workspace.say("C1", f"{MENTION} b", thread=kept)
    place.workspace.fault("refuse", method=REPLIES, error="thread_not_found")
    await place.master.until(place.ran("b"))
    assert place.master.errors == []


async def test_a_restart_in_the_middle_of_the_pages_neither_loses_nor_repeats(place: Place) -> None:
    place.workspace.page = 3
    await place.watch("wf_1")
    texts = [str(number) for number in range(10)]
    for text in texts:
        place.workspace.say("C1", f"{MENTION} {text}")
    await place.change_masters(texts, after_steps=2, then_s=40)


async def test_mentions_of_a_downtime_are_caught_up(place: Place) -> None:
    await place.watch("wf_1")
    parent = place.workspace.say("C1", f"{MENTION} before")
    await place.master.until(place.ran("before"))
    await place.master.for_s(70)
    await leases.release(place.pool, place.master.source().name, "m1")
    place.workspace.say("C1", f"{MENTION} meanwhile")
    place.workspace.say("C1", f"{MENTION} meanwhile too", thread=parent)
    await place.start("m2").until(place.ran("before", "meanwhile", "meanwhile too"))


async def test_a_master_that_lost_its_lease_writes_nothing(place: Place) -> None:
    await place.watch("wf_1")
    await place.master.for_s(5)
    first = place.master.source()
    await leases.release(place.pool, first.name, "m1")
    second = place.start("m2")
    place.workspace.say("C1", f"{MENTION} hi")
    await second.until(place.ran("hi"))
    place.workspace.say("C1", f"{MENTION} later")
    with pytest.raises(StaleEpoch):
        await place.master.for_s(60)
    await second.until(place.ran("hi", "later"))


async def test_two_keepers_share_the_sources_and_take_over(place: Place) -> None:
    """Two real masters' keepers, one killed: the other goes on, and nothing is lost or repeated."""
    await place.watch("wf_1")
    masters = [place.start(owner, monotonic=time.monotonic) for owner in ("k1", "k2")]
    first, second = (Keeper(place.pool, one.owner, [one.family]) for one in masters)
    tasks = [asyncio.create_task(keeper.serve()) for keeper in (first, second)]
    place.workspace.say("C1", f"{MENTION} one")
    await _eventually(place.ran("one"))
    holder = await place.pool.fetchval("select owner from leases where name = 'slack:org_a:conn_1'")
    dead = tasks[0] if holder == "k1" else tasks[1]
    dead.cancel()  # without giving its lease back
    await asyncio.gather(dead, return_exceptions=True)
    place.workspace.say("C1", f"{MENTION} two")
    began = time.monotonic()
    await _eventually(place.ran("one", "two"))
    assert time.monotonic() - began < 20
    assert await place.pool.fetchval("select owner from leases where name = 'slack:org_a:conn_1'") != holder
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await is_so():
            await asyncio.sleep(0.02)


async def test_a_revoked_token_stops_its_own_source_with_a_reason_until_it_is_replaced(place: Place) -> None:
    await place.watch("wf_1")
    await place.watch("wf_2", channel="C2", connector="", botToken=place.workspace.token)
    await place.master.for_s(3)
    await place.credential("conn_1", {"botToken": "xoxb-" + "9" * 20})
    await place.master.until(place.told("wf_1", "source"))
    ((reason, message),) = await place.problems("wf_1")
    assert (reason, "invalid_auth" in message, "connector" in message) == ("source", True, True)
    assert "xoxb" not in message
    assert place.master.errors[-1] == message
    place.workspace.say("C1", f"{MENTION} hi")
    place.workspace.say("C2", f"{MENTION} other")
    await place.master.until(place.ran("other", workflow="wf_2"))
    assert await place.problems("wf_2") == []
    assert place.master.source().failed(Refused("")) == 20.0
    await place.watch("wf_3")  # one that comes now is told too
    await place.master.until(place.told("wf_3", "source"))
    await place.credential("conn_1", place.credential_of)
    await place.master.until(place.ran("hi"))
    assert await place.problems("wf_1") == await place.problems("wf_3") == []


@pytest.mark.parametrize("code", ["token_revoked", "account_inactive", "token_expired"])
async def test_a_token_that_is_revoked_while_it_is_read_with_loses_nothing(place: Place, code: str) -> None:
    await place.watch("wf_1")
    await place.master.for_s(3)
    place.workspace.revoked = code
    place.workspace.say("C1", f"{MENTION} hi")
    await place.master.until(place.told("wf_1", code))
    # Another master that takes over takes the problem back, although it never told of it.
    await leases.release(place.pool, place.master.source().name, "m1")
    place.workspace.revoked = ""
    await place.start("m2").until(place.ran("hi"))
    assert await place.problems("wf_1") == []


async def test_a_channel_that_is_refused_stops_no_other_of_the_token(place: Place) -> None:
    await place.watch("wf_1")
    await place.watch("wf_2", channel="C2")
    place.workspace.closed["C1"] = "not_in_channel"
    place.workspace.say("C2", f"{MENTION} fine")
    await place.master.until(place.ran("fine", workflow="wf_2"))
    await place.master.until(place.told("wf_1", "invite the bot"))
    assert await place.problems("wf_2") == []
    _, detail = place.master.source().report()
    assert "not_in_channel" in detail["channels"]["C1"]["problem"]
    place.workspace.closed.clear()
    place.workspace.say("C1", f"{MENTION} back")
    await place.master.until(place.ran("back"))
    assert await place.problems("wf_1") == []


async def test_threads_that_may_not_be_read_stop_no_history(place: Place) -> None:
    await place.watch("wf_1")
    parent = place.workspace.say("C1", "parent")
    place.workspace.say("C1", f"{MENTION} reply", thread=parent)
    place.workspace.fault("refuse", method=REPLIES, times=2, error="missing_scope")
    await place.master.until(place.told("wf_1", "threads are not read"))
    place.workspace.say("C1", f"{MENTION} top")
    await place.master.until(place.ran("top"))
    await place.master.until(place.ran("top", "reply"))
    await place.master.for_s(5)
    assert await place.problems("wf_1") == []


async def test_a_connector_that_is_gone_is_told(place: Place) -> None:
    await place.watch("wf_1")
    await connectors.delete_connector(place.pool, "org_a", "conn_1")
    await place.master.until(place.told("wf_1", "choose another"))


async def test_a_database_that_fails_costs_nothing_but_time(place: Place) -> None:
    await place.watch("wf_1")
    await place.master.for_s(3)
    place.workspace.say("C1", f"{MENTION} hi")
    await place.pool.execute("alter table receipts rename to receipts_gone")
    await place.master.for_s(10)
    assert place.master.errors
    await place.pool.execute("alter table receipts_gone rename to receipts")
    await place.master.until(place.ran("hi"))


async def test_triggers_that_go_take_their_channel_with_them(place: Place) -> None:
    await place.watch("wf_1")
    await place.watch("wf_2", channel="C2")
    await place.master.for_s(5)
    gone = record("wf_1", "slack-mentions", {"channelId": "C1"}, active=False)
    place.master.table.apply(gone)
    before = len(place.workspace.calls)
    place.workspace.say("C1", f"{MENTION} nobody listens")
    await place.master.for_s(10)
    assert {call.get("channel") for call in place.workspace.calls[before:]} <= {"C2", None}
    source = place.master.source()
    place.master.table.apply(record("wf_2", "slack-mentions", {"channelId": "C2"}, active=False))
    assert place.master.family.wanted() == []
    assert await place.runs() == []
    place.master.table.apply(place.rows["wf_2"])
    assert place.master.source() is not source, "it was forgotten with its last trigger"


async def test_an_idle_channel_writes_nothing(place: Place) -> None:
    await place.watch("wf_1")
    place.workspace.say("C1", "hello")
    await place.master.for_s(100)
    before = await place.pool.fetchval("select updated_at from cursors where source = 'slack:org_a:conn_1'")
    await place.master.for_s(100)
    after = await place.pool.fetchval("select updated_at from cursors where source = 'slack:org_a:conn_1'")
    assert before == after


async def test_how_a_source_fares_is_seen_by_its_organization_only(place: Place) -> None:
    await place.watch("wf_1")
    await place.master.for_s(3)
    source = place.master.source()
    lag, detail = source.report()
    assert lag.endswith(" s")
    assert detail["channels"]["C1"]["problem"] is None
    assert source.org_id == "org_a"
    assert msgspec.json.encode(detail).find(b"xoxb") == -1
