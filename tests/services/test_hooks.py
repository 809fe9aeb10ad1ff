"""Execution webhooks: told once of each end and each fate of an event, with what makes it so, and delivered."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from b3os.auth.sealing import hook_secret_name, seal
from b3os.errors import BadInput, NotFound
from b3os.ids import receipt_key
from b3os.settings import Settings
from b3os.store import admission, deliveries, hooks, run_reads, runs, trigger_notices
from b3os.store.pool import Pool, as_org, open_pool
from b3os.store.trigger_notices import Sighting
from services.worker.app import Worker
from tests.emulators.receiver import Receiver
from tests.services.client import Client
from tests.services.test_deliveries import role_of
from tests.services.test_effects import MASTER_KEY
from tests.store.rows import make_workflow

ALL = ["run.completed", "run.failed", "run.cancelled", "event.finalized", "event.removed"]


class Place:
    """A database with runs, and addresses that are told of them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._started = 0

    async def hook(self, name: str, org: str = "org_a", **more: Any) -> hooks.Hook:
        about = {"url": f"https://example.com/{name}", "event_types": ALL, "workflow_id": None, "max_retries": 1} | more
        secret = await seal(self.pool, org, hook_secret_name(name), MASTER_KEY, name.encode())
        new = hooks.NewHook(
            org_id=org, id=name, name=name, description="", secret=secret, created_by="user_1", **about
        )  # fmt: skip
        async with as_org(self.pool, org) as db:
            return await hooks.create_hook(db, new)

    async def start(self, workflow: str = "wf_a", org: str = "org_a") -> runs.RunRow:
        """Accept an event and claim its run."""
        self._started += 1
        key = receipt_key(workflow, "root", f"event {self._started}")
        run_id = f"run_{self._started}"
        await admission.accept(
            self.pool, [admission.Proposal(org, workflow, 1, "root", key, run_id, "manual", {}, 1_000_000)]
        )
        [run] = await runs.claim(self.pool, [run_id], "w1", 60)
        return run

    async def end(self, run: runs.RunRow, status: str) -> None:
        item = runs.RunCommit(org_id=run.org_id, run_id=run.id, epoch=run.epoch, status=status, release=True)
        await runs.commit(self.pool, [item])

    async def told(self, org: str = "org_a", hook: str | None = None) -> list[tuple[str, str, str]]:
        """What was told, as hook, event and run."""
        rows = await deliveries.list_deliveries(self.pool, org, is_of_hooks=True, endpoint_id=hook, limit=100)
        return sorted((row.endpoint_id, row.event_type, row.run_id) for row in rows)


@pytest.fixture
async def place(pg_url: str) -> AsyncIterator[Place]:
    pool = await open_pool(pg_url, max_size=4)
    for workflow, org in (("wf_a", "org_a"), ("wf_2", "org_a"), ("wf_b", "org_b")):
        await make_workflow(pool, workflow, org)
    yield Place(pool)
    await pool.close()


@pytest.mark.parametrize(
    ("status", "event"), [("success", "run.completed"), ("failure", "run.failed"), ("cancelled", "run.cancelled")]
)
async def test_the_end_of_a_run_is_told_once_to_who_wants_it(place: Place, status: str, event: str) -> None:
    await place.hook("all")
    await place.hook("none", event_types=[one for one in ALL if one != event])
    await place.hook("other", workflow_id="wf_2")
    await place.hook("theirs", org="org_b")
    run = await place.start()
    await runs.commit(place.pool, [runs.RunCommit(org_id=run.org_id, run_id=run.id, epoch=run.epoch, status="waiting")])
    assert await place.told() == []
    await place.end(run, status)
    await place.end(run, status)
    assert await place.told() == [("all", event, run.id)]
    assert await place.told("org_b") == []
    [row] = await deliveries.list_deliveries(place.pool, "org_a", is_of_hooks=True)
    said = msgspec.json.decode(row.body)
    assert said.pop("eventId").startswith("evt_")
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "type": event, "organizationId": "org_a", "workflowId": "wf_a", "runId": run.id, "status": status,
    }  # fmt: skip
    assert (row.url, row.max_retries, row.headers["x-b3os-event"]) == ("https://example.com/all", 1, event)
    assert await deliveries.list_deliveries(place.pool, "org_a") == [], "the log of send-webhook is another"


async def test_a_cancellation_by_hand_is_told_and_a_stale_end_is_not(place: Place) -> None:
    await place.hook("all")
    run = await place.start()
    async with as_org(place.pool, "org_a") as db:
        await run_reads.cancel_run(db, "org_a", run.id)
    await place.end(run, "success")
    assert await place.told() == [("all", "run.cancelled", run.id)]


async def test_one_workflows_webhook_is_told_of_that_workflow_only(place: Place) -> None:
    await place.hook("second", workflow_id="wf_2")
    for workflow in ("wf_a", "wf_2"):
        await place.end(await place.start(workflow), "success")
    assert [run for _, _, run in await place.told()] == ["run_2"]


async def test_what_becomes_of_an_event_is_told_with_its_decision(place: Place) -> None:
    await place.hook("all")
    gone, kept = await place.start(), await place.start()
    fates = [("org_a", gone.id, "removed"), ("org_a", kept.id, "finalized")]
    async with place.pool.acquire() as db:
        sightings = [Sighting("org_a", run.id, 7, "0x7", "0xt") for run in (gone, kept)]
        await trigger_notices.add(db, "chain:1", sightings, state="pending")
        told = await trigger_notices.settle(db, fates)
        assert [(one.run_id, one.state, one.workflow_id) for one in told] == [
            (gone.id, "removed", "wf_a"), (kept.id, "finalized", "wf_a"),
        ]  # fmt: skip
        assert await trigger_notices.settle(db, fates) == []
        await trigger_notices.settle(db, [("org_a", gone.id, "finalized")])
    assert await place.told() == [
        ("all", "event.finalized", gone.id), ("all", "event.finalized", kept.id), ("all", "event.removed", gone.id),
    ]  # fmt: skip


async def test_a_disabled_webhook_is_told_nothing_and_what_waited_fails(place: Place) -> None:
    await place.hook("all")
    await place.end(await place.start(), "success")
    async with as_org(place.pool, "org_a") as db:
        assert (await hooks.disable_hook(db, "org_a", "all")).disabled_at is not None
    await place.end(await place.start(), "success")
    [row] = await deliveries.list_deliveries(place.pool, "org_a", is_of_hooks=True)
    assert (row.run_id, row.status, row.error_message) == ("run_1", "failure", "the execution webhook was disabled")
    assert await deliveries.claim_due(place.pool, 5, 60) == []
    async with as_org(place.pool, "org_a") as db:
        assert (await hooks.enable_hook(db, "org_a", "all")).disabled_at is None
        await deliveries.retry_delivery(db, "org_a", row.id)
    await place.end(await place.start(), "success")
    assert [run for _, _, run in await place.told()] == ["run_1", "run_3"]


async def test_nothing_of_a_disabled_webhook_is_sent_again(place: Place) -> None:
    await place.hook("all")
    for status in ("success", "failure"):
        await place.end(await place.start(), status)
    due = (await deliveries.claim_due(place.pool, 1, 60))[0]
    await deliveries.finish(place.pool, due, deliveries.Attempt(is_success=True))
    async with as_org(place.pool, "org_a") as db:
        await hooks.disable_hook(db, "org_a", "all")
        rows = await deliveries.list_deliveries(db, "org_a", is_of_hooks=True)
        failed = next(row for row in rows if row.id != due.id)
        assert failed.status == "failure"
        for act in (
            deliveries.retry_delivery(db, "org_a", failed.id),
            deliveries.replay_delivery(db, "org_a", failed.id, "whd_2"),
            deliveries.replay_delivery(db, "org_a", due.id, "whd_3"),
        ):
            with pytest.raises(BadInput, match="disabled: enable it first") as caught:
                await act
            assert caught.value.code == 400378
        with pytest.raises(BadInput, match="only a failed one"):
            await deliveries.retry_delivery(db, "org_a", due.id)
        await hooks.enable_hook(db, "org_a", "all")
        await deliveries.replay_delivery(db, "org_a", due.id, "whd_3")
        await deliveries.retry_delivery(db, "org_a", failed.id)
    assert {one.id for one in await deliveries.claim_due(place.pool, 5, 60)} == {"whd_3", failed.id}


async def test_what_is_stored_while_its_webhook_is_disabled_is_not_sent(place: Place, tmp_path: Path) -> None:
    receiver = await Receiver().start()
    await place.hook("mine", url=f"http://{receiver.host}/told")
    run = await place.start()
    async with place.pool.acquire() as slow, slow.transaction():
        await run_reads.cancel_run(slow, "org_a", run.id)
        async with as_org(place.pool, "org_a") as db:
            await hooks.disable_hook(db, "org_a", "mine")  # does not see what is not committed
    [told] = await deliveries.list_deliveries(place.pool, "org_a", is_of_hooks=True)
    assert told.status == "pending"
    async with role_of(place.pool, receiver, receiver.host, tmp_path) as sending:
        row = await sending.ended(told.id)
    assert (row.status, row.retry_count, row.error_message) == ("failure", 0, "the execution webhook was disabled")
    assert receiver.received == []
    await receiver.stop()


async def test_what_others_registered_is_not_there(place: Place) -> None:
    await place.hook("theirs", org="org_b")
    async with as_org(place.pool, "org_a") as db:
        assert await hooks.list_hooks(db, "org_b", limit=9, offset=0) == []
        for act in (hooks.get_hook, hooks.disable_hook, hooks.enable_hook):
            with pytest.raises(NotFound):
                await act(db, "org_b", "theirs")
    assert (await hooks.get_hook(place.pool, "org_b", "theirs")).disabled_at is None


async def test_an_organization_has_a_bounded_number(place: Place) -> None:
    for number in range(hooks.MOST):
        await place.hook(f"h{number}")
    with pytest.raises(BadInput, match="at most"):
        await place.hook("one more")


async def test_a_notice_is_signed_with_its_own_secret_retried_and_sent_again(place: Place, tmp_path: Path) -> None:
    receiver = await Receiver().start()
    await place.hook("mine", url=f"http://{receiver.host}/told")
    run = await place.start()
    receiver.answers.extend([500, 200])
    async with role_of(place.pool, receiver, receiver.host, tmp_path) as sending:
        await place.end(run, "failure")
        [pending] = await deliveries.list_deliveries(place.pool, "org_a", is_of_hooks=True)
        row = await sending.ended(pending.id)
        assert (row.status, row.retry_count, row.response_body) == ("success", 1, "thanks")
        async with as_org(place.pool, "org_a") as db:
            await deliveries.replay_delivery(db, "org_a", row.id, "whd_again")
        again = await sending.ended("whd_again")
        assert (again.endpoint_id, again.event_type, again.replay_of) == ("mine", "run.failed", row.id)
    assert len(receiver.received) == 3
    for got in receiver.received:
        assert got.headers["x-b3os-signature"] == hmac.new(b"mine", got.body, hashlib.sha256).hexdigest()
        assert (got.path, got.headers["x-b3os-event"]) == ("/told", "run.failed")
        assert msgspec.json.decode(got.body)["runId"] == run.id
    await receiver.stop()


async def test_a_secret_is_shown_when_it_is_made_and_never_again(client: Client) -> None:
    mine, body = client.keys["mine"], {"name": "n", "url": "https://example.com/h"}
    _, made = await client.call("POST", "/v1/execution-webhooks", mine, body)
    endpoint, secret = made["data"]["endpoint"], made["data"]["signingSecret"]
    assert (endpoint["status"], endpoint["subscribedEventTypes"]) == ("active", sorted(ALL))
    path = f"/v1/execution-webhooks/{endpoint['id']}"
    _, other = await client.call("POST", f"{path}/regenerate-secret", mine)
    assert other["data"]["signingSecret"] != secret
    for answer in (await client.call("GET", path, mine), await client.call("GET", "/v1/execution-webhooks", mine)):
        assert secret not in str(answer)
        assert other["data"]["signingSecret"] not in str(answer)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"url": "https://127.0.0.1/h"}, 400365),
        ({"url": "https://[::1]/h"}, 400365),
        ({"url": "http://example.com/h"}, 400365),
        ({"url": "file:///etc/passwd"}, 400365),
        ({"url": ""}, 400410),
        ({"name": ""}, 400410),
        ({"subscribedEventTypes": []}, 400377),
        ({"subscribedEventTypes": ["node.failed"]}, 400377),
        ({"subscribedEventTypes": "run.failed"}, 400377),
        ({"subscribedEventTypes": [["run.failed"]]}, 400377),
        ({"maxRetries": 11}, 400410),
    ],
)
async def test_what_cannot_be_told_is_refused(client: Client, more: dict[str, Any], code: int) -> None:
    body = {"name": "n", "url": "https://example.com/h", **more}
    status, answer = await client.call("POST", "/v1/execution-webhooks", client.keys["mine"], body)
    assert (status, answer["code"]) == (400, code)


async def test_a_workflow_of_others_cannot_be_watched(client: Client) -> None:
    body = {"name": "n", "url": "https://example.com/h", "workflowId": client.ids["workflows"]}
    assert (await client.call("POST", "/v1/execution-webhooks", client.keys["theirs"], body))[0] == 404
    assert (await client.call("POST", "/v1/execution-webhooks", client.keys["mine"], body))[0] == 200


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = await Receiver().start()
    yield found
    await found.stop()


class TestWhole:
    """From the route to the receiver, by a real worker."""

    @pytest.fixture
    def api_settings(self, api_settings: Settings, receiver: Receiver) -> Settings:
        return msgspec.structs.replace(api_settings, egress_allow=receiver.host)

    async def test_a_registered_address_hears_of_a_run(
        self, client: Client, api_settings: Settings, receiver: Receiver
    ) -> None:
        mine, body = client.keys["mine"], {"name": "n", "url": f"http://{receiver.host}/h"}
        _, made = await client.call("POST", "/v1/execution-webhooks", mine, body)
        stop, pool = asyncio.Event(), await open_pool(api_settings.database_url, max_size=4)
        serving = asyncio.create_task(Worker(pool=pool, settings=api_settings, stop=stop).serve())
        [got] = await receiver.until(1)
        stop.set()
        await serving
        await pool.close()
        key = made["data"]["signingSecret"].encode()
        assert got.headers["x-b3os-signature"] == hmac.new(key, got.body, hashlib.sha256).hexdigest()
        said = msgspec.json.decode(got.body)
        assert (said["type"], said["runId"]) == ("run.completed", client.ids["runs"])
