"""The Gmail source on a real database, behind a proxy that limits, forgets, refuses and lies. Time is virtual."""

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import pytest

from b3os import metrics
from b3os.detect.gmail_place import BATCH
from b3os.errors import StaleEpoch
from b3os.queue.broker import Broker
from b3os.store import connectors, leases
from b3os.store.pool import open_pool
from services.master.sources.gmail import TRIES, Gmail
from services.master.sources.refusals import Refused
from tests.emulators.gmail import ACCOUNT, CLIENT, PROJECT, SECRET, Box, Pipedream
from tests.services.polled_case import Place as Base
from tests.trigger_records import record

RECEIVED, SEARCHED = "gmail-new-email-received", "gmail-new-email-matching-search"
CLIENT_SETTINGS = {"pipedream_project": PROJECT, "pipedream_client_id": CLIENT, "pipedream_client_secret": SECRET}


class Place(Base):
    """A proxy with a mailbox, a database, and the masters between them."""

    @property
    def pipedream(self) -> Pipedream:
        found: Pipedream = self.service
        return found

    @property
    def box(self) -> Box:
        return self.pipedream.boxes[ACCOUNT]

    async def watch(
        self, workflow: str, connector: str = "conn_1", since_ms: int = 0, kind: str = RECEIVED, **payload: Any
    ) -> None:  # fmt: skip
        await self.publish(workflow, kind, payload, connector=("gmail", connector), since_ms=since_ms)

    async def level(self) -> None:
        """Poll until the mailbox has a place."""

        async def is_so() -> bool:
            return bool(await self.pool.fetchval("select position->>'history' from cursors"))

        await self.master.until(is_so)


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    pipedream = await Pipedream().start()
    pipedream.connect("org_a")
    found = Place(
        pipedream, await open_pool(pg_url), Broker(redis_url), make=partial(Gmail, spacing_s=0.0), provider="pipedream",
        credential={"accountId": ACCOUNT}, text="subject", **CLIENT_SETTINGS,
    )  # fmt: skip
    async with found:
        yield found


async def test_a_mail_becomes_one_run_with_what_gmail_said(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    message = place.box.mail("hello", text="the text", sender="Ann <ann@example.com>")
    place.box.mail("a draft", labels=["DRAFT"])
    place.box.mail("mine", labels=["SENT"])
    await place.master.until(place.ran("hello"))
    await place.master.for_s(200)
    (row,) = await place.pool.fetch("select * from runs")
    result = row["trigger_result"]
    assert (result["id"], result["from"], result["text"]) == (message, "Ann <ann@example.com>", "the text")
    assert result["event"] == place.box.messages[message]
    assert row["trigger_source"] == RECEIVED
    assert place.master.errors == []
    assert len([one for one in place.pipedream.calls if one[0] == f"/messages/{message}"]) == 1


async def test_one_poller_serves_every_workflow_of_a_mailbox(place: Place) -> None:
    names = [f"wf_{number}" for number in range(5)]
    for name in names:
        await place.watch(name)
    await place.level()
    place.box.mail("all")
    for name in names:
        await place.master.until(place.ran("all", workflow=name))
    await place.master.for_s(30)
    assert await place.runs() == [(name, "all") for name in names]
    assert len(place.pipedream.called("/history")) <= 6
    assert len([path for path, _ in place.pipedream.calls if path.startswith("/messages/")]) == 1


async def test_labels_choose_the_mail(place: Place) -> None:
    await place.watch("wf_1", labels=["Label_7"])
    await place.watch("wf_2", labels=[], excludeLabels=["CATEGORY_SOCIAL"])
    await place.level()
    place.box.mail("labelled", labels=["Label_7"])
    place.box.mail("social", labels=["INBOX", "CATEGORY_SOCIAL"])
    place.box.mail("spam", labels=["SPAM"])
    await place.master.until(place.ran("labelled"))
    await place.master.for_s(30)
    assert await place.runs() == [("wf_1", "labelled"), ("wf_2", "labelled")]


async def test_every_page_and_every_message_of_a_record_is_read(place: Place) -> None:
    place.pipedream.page = 4
    await place.watch("wf_1")
    await place.level()
    subjects = [f"m{number}" for number in range(30)]
    for subject in subjects:
        place.box.mail(subject)
    place.box.join_records(3)
    gone = place.box.mail("gone")
    del place.box.messages[gone]  # the history still tells of it
    place.box.records.append(place.box.records[0])  # and twice of another
    await place.master.until(place.ran(*subjects))
    await place.master.for_s(30)
    assert len(await place.runs()) == 30


async def test_a_history_that_tells_no_labels_and_a_page_that_follows_itself_lose_nothing(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    message = place.box.mail("hi")
    added = [{"message": {"id": message, "threadId": message}}]
    bare = {"history": [{"id": "1", "messagesAdded": added}], "historyId": str(place.box.at), "nextPageToken": "9"}
    place.pipedream.fault("garbage", path="/history", times=2, text=json.dumps(bare))
    await place.master.until(place.ran("hi"))
    await place.master.for_s(30)
    assert "followed by itself" in place.master.errors[0]
    assert await place.runs() == [("wf_1", "hi")]


async def test_mail_between_publishing_and_the_first_poll_fires_and_older_mail_does_not(place: Place) -> None:
    place.box.mail("old", at_ms=time.time_ns() // 10**6 - 10_000)
    await place.watch("wf_1")
    place.box.mail("first")
    await place.master.until(place.ran("first"))
    later_ms = time.time_ns() // 10**6 + 5000
    await place.watch("wf_2", since_ms=later_ms)
    place.box.mail("both", at_ms=later_ms + 1)
    await place.master.until(place.ran("both", workflow="wf_2"))
    assert await place.runs() == [("wf_1", "both"), ("wf_1", "first"), ("wf_2", "both")]


async def test_a_trigger_that_the_master_heard_of_late_misses_nothing(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    since = time.time_ns() // 10**6
    place.box.mail("between")
    await place.master.until(place.ran("between"))
    await place.watch("wf_2", since_ms=since)
    await place.master.until(place.ran("between", workflow="wf_2"))
    assert len(await place.runs()) == 2


async def test_an_expired_history_is_listed_again_without_loss_or_repetition(place: Place) -> None:
    place.pipedream.page = 3
    await place.watch("wf_1")
    await place.level()
    for number in range(4):
        place.box.mail(f"before {number}")
    await place.master.until(place.ran(*(f"before {number}" for number in range(4))))
    texts = [f"before {number}" for number in range(4)] + [f"gap {number}" for number in range(7)]
    for number in range(7):
        place.box.mail(f"gap {number}")
    place.box.expire()
    place.box.mail("after")
    await place.master.until(place.ran(*texts, "after"))
    place.box.mail("next")
    await place.master.until(place.ran(*texts, "after", "next"))
    assert len(await place.runs()) == 13
    assert [query["q"][0][:6] for query in place.pipedream.called("/messages") if "q" in query][-1] == "after:"
    assert place.master.errors == []


async def test_a_restart_in_the_middle_of_a_list_begins_it_again(place: Place) -> None:
    place.pipedream.page = 2
    await place.watch("wf_1")
    await place.level()
    texts = [str(number) for number in range(8)]
    for text in texts:
        place.box.mail(text)
    place.box.expire()
    await place.change_masters(texts, after_steps=3, then_s=150)


async def test_a_restart_in_the_middle_of_the_history_neither_loses_nor_repeats(place: Place) -> None:
    place.pipedream.page = 3
    await place.watch("wf_1")
    await place.level()
    texts = [str(number) for number in range(10)]
    for text in texts:
        place.box.mail(text)
    await place.change_masters(texts, after_steps=2, then_s=150)


async def test_a_master_that_lost_its_lease_writes_nothing(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    await leases.release(place.pool, place.master.source().name, "m1")
    second = place.start("m2")
    place.box.mail("hi")
    await second.until(place.ran("hi"))
    place.box.mail("later")
    with pytest.raises(StaleEpoch):
        await place.master.for_s(60)
    await second.until(place.ran("hi", "later"))


async def test_a_search_fires_for_new_mail_that_it_finds(place: Place) -> None:
    place.box.mail("invoice 0", at_ms=time.time_ns() // 10**6 - 60_000)
    await place.watch("wf_1", kind=SEARCHED, q="subject:invoice from:bank")
    await place.watch("wf_2", kind=SEARCHED, q="invoice", labels=["Label_7"])
    await place.level()
    place.box.mail("invoice 1", sender="bank@example.com")
    place.box.mail("invoice 2", sender="else@example.com")
    place.box.mail("invoice 3", sender="else@example.com", labels=["INBOX", "Label_7"])
    await place.master.until(place.ran("invoice 1"))
    await place.master.until(place.ran("invoice 3", workflow="wf_2"))
    await place.master.for_s(200)
    assert await place.runs() == [("wf_1", "invoice 1"), ("wf_2", "invoice 3")]


async def test_a_search_that_finds_a_mail_late_loses_nothing_over_a_restart(place: Place) -> None:
    await place.watch("wf_1", kind=SEARCHED, q="invoice")
    await place.level()
    place.box.unsearchable.add(place.box.mail("invoice"))
    await place.master.for_s(40)
    assert await place.runs() == []
    await leases.release(place.pool, place.master.source().name, "m1")
    place.box.unsearchable.clear()
    await place.start("m2").until(place.ran("invoice"))


async def test_a_search_sees_the_mail_of_a_gap_too(place: Place) -> None:
    await place.watch("wf_1", kind=SEARCHED, q="invoice")
    await place.level()
    place.box.mail("invoice")
    place.box.mail("other")
    place.box.expire()
    await place.master.until(place.ran("invoice"))


async def test_access_tokens_are_renewed_before_and_after_they_end(place: Place) -> None:
    place.pipedream.token_s = 300
    await place.watch("wf_1")
    await place.level()
    assert place.pipedream.logins == 1
    await place.master.for_s(1000)
    assert place.pipedream.logins in (4, 5)
    place.pipedream.expire_tokens()
    place.box.mail("hi")
    await place.master.until(place.ran("hi"))
    assert place.master.errors == []


@pytest.mark.parametrize(
    ("kind", "more"),
    [("fail", {"status": 502}), ("fail", {"status": 504}), ("fail", {"status": 404}), ("fail", {"status": 400}),
     ("garbage", {"text": "{"}), ("garbage", {"text": "[]"}), ("garbage", {"text": "{}"}), ("garbage", {"text": ""}),
     ("garbage", {"text": '{"historyId":7}'}), ("garbage", {"text": "[" * 100_000}), ("cut", {})],
)  # fmt: skip
async def test_a_failing_service_loses_and_repeats_nothing(place: Place, kind: str, more: dict[str, Any]) -> None:
    place.pipedream.page = 2
    await place.watch("wf_1")
    await place.level()
    texts = [str(number) for number in range(6)]
    for text in texts:
        place.box.mail(text)
    await place.master.step(place.master.source())
    place.pipedream.fault(kind, path="/history", times=2, **more)
    place.pipedream.fault(kind, path="/messages/", times=1, **more)
    await place.master.until(place.ran(*texts))
    await place.master.for_s(30)
    assert len(await place.runs()) == 6
    assert place.master.errors


@pytest.mark.parametrize(
    ("kind", "more"), [("fail", {"status": 500}), ("fail", {"status": 404}), ("garbage", {"text": "{"})]
)
@pytest.mark.parametrize("listed", [False, True])
async def test_a_message_that_is_never_given_is_left_out_and_told(
    place: Place, kind: str, more: dict[str, Any], *, listed: bool
) -> None:
    await place.watch("wf_1")
    await place.level()
    lost = place.box.mail("never given")
    place.pipedream.fault(kind, path=f"/messages/{lost}", times=10**6, **more)
    place.box.mail("behind it")
    if listed:
        place.box.expire()
    before = metrics.SOURCE_LEFT_OUT.labels("gmail")._value.get()
    began = place.master.clock
    await place.master.until(place.ran("behind it"))
    assert place.master.clock - began < 90
    await place.master.for_s(200)
    assert await place.runs() == [("wf_1", "behind it")]
    assert len(place.pipedream.called(f"/messages/{lost}")) == TRIES, "it is not asked for again"
    assert f"message {lost} was left out" in place.master.errors[-1]
    assert metrics.SOURCE_LEFT_OUT.labels("gmail")._value.get() == before + 1
    _, detail = place.master.source().report()
    assert list(detail["leftOut"]) == [lost]
    second = place.start("m2")
    await leases.release(place.pool, place.master.source().name, "m1")
    place.box.mail("to another master")
    await second.until(place.ran("behind it", "to another master"))
    assert second.errors == []


async def test_a_batch_of_messages_that_are_never_given_is_left_out_whole(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    for number in range(BATCH):
        lost = place.box.mail(f"never given {number}")
        place.pipedream.fault("fail", path=f"/messages/{lost}", times=10**6, status=404)
    place.box.mail("behind them")
    await place.master.until(place.ran("behind them"))


async def test_no_message_is_left_out_while_the_mailbox_does_not_answer(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    place.box.mail("late")
    place.pipedream.fault("fail", path="/messages/", times=2 * TRIES - 1, status=503)
    place.pipedream.fault("fail", path="/profile", times=TRIES, status=503)
    await place.master.for_s(120)
    assert not any("left out" in error for error in place.master.errors)
    await place.master.until(place.ran("late"))


@pytest.mark.parametrize(("kind", "more", "wait_s"), [("limit", {"retry_after": "45"}, 45), ("quota", {}, 30)])
async def test_limits_are_obeyed(place: Place, kind: str, more: dict[str, Any], wait_s: float) -> None:
    await place.watch("wf_1")
    await place.level()
    await place.master.for_s(15)
    place.pipedream.fault(kind, path="/history", **more)
    place.box.mail("hi")
    place.master.called.clear()
    await place.master.until(place.ran("hi"))
    limited, after = place.master.called[:2]
    assert wait_s <= after - limited < wait_s + 2
    assert place.master.errors == []


async def test_a_revoked_account_stops_its_own_source_with_a_reason(place: Place) -> None:
    other = place.pipedream.connect("org_a", "apn_other")
    await place.watch("wf_1")
    await place.level()
    place.credential_of = {"accountId": "apn_other"}
    await place.watch("wf_2", connector="conn_2")
    place.box.is_revoked = True
    place.box.mail("hi")
    await place.master.until(place.told("wf_1", "authError"))
    ((reason, message),) = await place.problems("wf_1")
    assert (reason, "connect the mailbox again" in message) == ("source", True)
    other.mail("other")
    await place.master.until(place.ran("other", workflow="wf_2"))
    assert await place.problems("wf_2") == []
    place.box.is_revoked = False
    await place.master.until(place.ran("hi"))
    assert await place.problems("wf_1") == []


async def test_an_account_of_another_organization_cannot_be_read(place: Place) -> None:
    box = place.pipedream.connect("org_b", "apn_theirs")
    place.credential_of = {"accountId": "apn_theirs"}
    await place.watch("wf_1")
    box.mail("secret")
    await place.master.until(place.told("wf_1", "record not found"))
    assert await place.runs() == []


async def test_a_connector_that_is_gone_is_told(place: Place) -> None:
    await place.watch("wf_1")
    await connectors.delete_connector(place.pool, "org_a", "conn_1")
    await place.master.until(place.told("wf_1", "choose another"))
    assert place.master.source().failed(Refused("")) == 30.0


async def test_another_account_in_the_connector_is_another_mailbox(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    place.box.mail("one")
    await place.master.until(place.ran("one"))
    other = place.pipedream.connect("org_a", "apn_other")
    other.at = 50  # its history has other ids
    other.mail("long ago", at_ms=time.time_ns() // 10**6 - 3_000_000)
    await place.credential("conn_1", {"accountId": "apn_other"})
    other.mail("two")
    await place.master.until(place.ran("one", "two"))
    other.mail("three")
    await place.master.until(place.ran("one", "two", "three"))


async def test_a_wrong_client_is_the_operators_to_correct(place: Place) -> None:
    place.pipedream.secret = "another"
    await place.watch("wf_1")
    place.box.mail("hi")
    await place.master.for_s(10)
    assert {error.split(":")[0] for error in place.master.errors} == {
        "Pipedream refuses B3OS_PIPEDREAM_CLIENT_ID and _SECRET"
    }
    assert await place.problems("wf_1") == []  # no tenant can do anything about it
    place.pipedream.secret = SECRET
    await place.master.until(place.ran("hi"))


async def test_without_a_project_nothing_is_wanted(place: Place) -> None:
    place.settings = msgspec.structs.replace(place.settings, pipedream_project="")
    await place.watch("wf_1")
    assert place.start("m2").family.wanted() == ()


async def test_a_database_that_fails_costs_nothing_but_time(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    place.box.mail("hi")
    await place.pool.execute("alter table receipts rename to receipts_gone")
    await place.master.for_s(30)
    assert place.master.errors
    await place.pool.execute("alter table receipts_gone rename to receipts")
    await place.master.until(place.ran("hi"))


async def test_triggers_that_go_take_the_source_with_them(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    source = place.master.source()
    place.master.table.apply(record("wf_1", RECEIVED, {"connector": {"type": "gmail", "id": "conn_1"}}, since_ms=1))
    assert place.master.source() is source, "a trigger that is published anew keeps it"
    place.master.table.apply(record("wf_1", RECEIVED, {}, active=False))
    assert place.master.family.wanted() == []
    place.master.table.apply(place.rows["wf_1"])
    assert place.master.source() is not source, "it was forgotten"


async def test_an_idle_mailbox_writes_now_and_then(place: Place) -> None:
    await place.watch("wf_1")
    await place.level()
    before = await place.pool.fetchval("select updated_at from cursors")
    await place.master.for_s(300)
    assert await place.pool.fetchval("select updated_at from cursors") == before
    lag, detail = place.master.source().report()
    assert lag.endswith(" s")
    assert detail["isListing"] is False
    assert place.master.source().org_id == "org_a"
