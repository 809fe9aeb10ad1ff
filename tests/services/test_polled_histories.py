"""Random histories of a Slack channel and of a mailbox: what ran is what was sent, through faults and other masters."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from b3os.queue.broker import Broker
from b3os.store import leases
from b3os.store.pool import open_pool
from services.master.sources.gmail import Gmail
from services.master.sources.slack import Slack
from tests.emulators.gmail import ACCOUNT, CLIENT, PROJECT, SECRET, Pipedream
from tests.emulators.slack import BOT
from tests.emulators.slack import Slack as Workspace
from tests.services.polled_case import Place

STEPS = 120
MENTION = f"<@{BOT}> "


class History:
    """One random history; `send` is what happens at the service."""

    def __init__(self, place: Place, seed: int, send: dict[str, Callable[[], Any]]) -> None:
        self.place, self.random, self.send = place, random.Random(seed), send
        self.masters = 1

    async def play(self) -> None:
        acts = [*self.send.values(), self.poll, self.poll, self.poll, self.poll, self.change]
        for _ in range(STEPS):
            result = self.random.choice(acts)()
            if result is not None:
                await result

    async def poll(self) -> None:
        """Let time pass; refusals and failures are part of it."""
        for _ in range(self.random.randint(1, 4)):
            await self.place.master.step(self.place.master.source())

    async def change(self) -> None:
        """Give the source to another master, in the middle of whatever it did."""
        if self.random.random() < 0.5:
            source = self.place.master.source()
            await leases.release(self.place.pool, source.name, self.place.master.owner)
            self.masters += 1
            self.place.master = self.place.start(f"m{self.masters}")


@pytest.mark.parametrize("seed", range(6))
async def test_every_mention_runs_once(seed: int, pg_url: str, redis_url: str) -> None:
    workspace = await Workspace(page=4).start()
    place = Place(
        workspace, await open_pool(pg_url), Broker(redis_url), make=Slack, provider="slack",
        credential={"botToken": workspace.token}, text="text",
    )  # fmt: skip
    chance, sent, parents = random.Random(seed), [], [""]

    def say() -> None:
        is_mention, thread = chance.random() < 0.7, chance.choice(parents[-5:])
        text = f"{MENTION if is_mention else ''}{len(sent)} {chance.random()}"
        late_us = chance.randint(0, 20) * 10**6 if chance.random() < 0.2 else 0
        ts = workspace.say("C1", text, thread=thread, at=time.time_ns() // 1000 - late_us if late_us else 0)
        if not thread:
            parents.append(ts)
        if is_mention:
            sent.append(text)

    def fail() -> None:
        kind = chance.choice(["fail", "garbage", "cut", "limit", "refuse"])
        workspace.fault(kind, times=chance.randint(1, 3), error=chance.choice(["internal_error", "invalid_cursor"]))

    def revoke() -> None:
        workspace.revoked = chance.choice(["", "", "token_revoked"])

    await place.publish(
        "wf_1", "slack-mentions", {"channelId": "C1"}, connector=("slack", "conn_1"),
        since_ms=time.time_ns() // 10**6 - 30_000,
    )  # fmt: skip
    workspace.channels["C1"] = {}
    async with place:
        await History(place, seed, {"say": say, "again": say, "fail": fail, "revoke": revoke}).play()
        workspace.revoked = ""
        await place.master.until(place.ran(*sent))
        await place.master.for_s(100)
        assert await place.ran(*sent)()


@pytest.mark.parametrize("seed", range(6))
async def test_every_mail_runs_once(seed: int, pg_url: str, redis_url: str) -> None:
    pipedream = await Pipedream(page=3).start()
    box = pipedream.connect("org_a")
    place = Place(
        pipedream, await open_pool(pg_url), Broker(redis_url), make=partial(Gmail, spacing_s=0.0),
        provider="pipedream", credential={"accountId": ACCOUNT}, text="subject",
        pipedream_project=PROJECT, pipedream_client_id=CLIENT, pipedream_client_secret=SECRET,
    )  # fmt: skip
    chance, sent = random.Random(seed), []

    def mail() -> None:
        labels = chance.choice([["INBOX"], ["INBOX", "UNREAD"], ["DRAFT"], ["SPAM"], ["Label_1"]])
        subject = f"{chance.choice(['invoice', 'other'])} {len(box.messages)}"
        message = box.mail(subject, labels=labels)
        if chance.random() < 0.3:
            box.unsearchable.add(message)
        if "INBOX" in labels:
            sent.append(subject)

    def fail() -> None:
        kind = chance.choice(["fail", "garbage", "cut", "limit", "quota"])
        pipedream.fault(kind, path=chance.choice(["", "/history", "/messages"]), times=chance.randint(1, 3))

    def revoke() -> None:
        box.is_revoked = chance.random() < 0.3

    since = time.time_ns() // 10**6 - 1000
    connector = ("gmail", "conn_1")
    await place.publish("wf_1", "gmail-new-email-received", {}, connector=connector, since_ms=since)
    search = {"q": "invoice", "labels": ["INBOX"]}
    await place.publish("wf_2", "gmail-new-email-matching-search", search, connector=connector, since_ms=since)
    acts = {"mail": mail, "again": mail, "fail": fail, "expire": box.expire, "tokens": pipedream.expire_tokens}
    async with place:
        await History(place, seed, {**acts, "revoke": revoke, "searchable": box.unsearchable.clear}).play()
        box.is_revoked = False
        box.unsearchable.clear()
        found = [subject for subject in sent if subject.startswith("invoice")]
        await place.master.until(place.ran(*sent))
        await place.master.until(place.ran(*found, workflow="wf_2"))
        await place.master.for_s(200)
        assert await place.ran(*sent)()
        assert await place.ran(*found, workflow="wf_2")()
