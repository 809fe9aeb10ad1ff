"""The cron source on a real database: slots of a downtime by policy, a lost lease, and what the API tells of them."""

import time
from collections.abc import AsyncIterator

import pytest

from b3os.detect.schedules import next_slots, slot_text
from b3os.errors import StaleEpoch
from b3os.queue.broker import Broker
from b3os.store import leases
from b3os.store.pool import Pool, open_pool, transaction
from services.master.admit import Admitter
from services.master.sources.cron import SOURCE, Cron
from services.master.table import Table
from tests.services.client import Client
from tests.store.rows import make_workflow
from tests.trigger_records import record

HOUR = {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=HOURLY"}
MONTH = {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=MONTHLY"}
DAYS_95 = 95 * 86_400


class Place:
    """A source, its lease, and the slots that became runs."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self.pool = pool
        self.table = Table()
        self.source = Cron(Admitter(pool, broker), pool, self.table)
        self.table.follow([self.source])
        self.now = int(time.time())

    async def put(self, workflow: str, payload: dict[str, object], *, since: int) -> None:
        await make_workflow(self.pool, workflow)
        self.table.apply(record(workflow, "cronjob", payload, since_ms=since * 1000))

    async def fired_through(self, epoch: int, time_s: int) -> None:
        async with transaction(self.pool) as tx:
            await leases.write_cursor(tx, SOURCE, epoch, {"firedThrough": time_s})

    async def slots(self, workflow: str) -> list[str]:
        rows = await self.pool.fetch(
            "select trigger_result->>'triggeredAt' as slot from runs where workflow_id = $1 order by 1", workflow
        )
        return [row["slot"] for row in rows]

    def expected(self, payload: dict[str, object], since: int) -> list[str]:
        return [slot_text(slot) for slot in next_slots(payload, since, 3000) if slot <= self.now]


@pytest.fixture
async def place(pg_url: str, redis_url: str) -> AsyncIterator[Place]:
    pool, broker = await open_pool(pg_url, max_size=4), Broker(redis_url)
    yield Place(pool, broker)
    await broker.close()
    await pool.close()


async def poll_until_idle(place: Place, epoch: int) -> None:
    for _ in range(20):
        if await place.source.poll(epoch) > 0:
            return
    raise AssertionError("the source is not done after 20 polls")


async def test_slots_of_a_downtime_run_by_policy_and_once(place: Place) -> None:
    epoch = await leases.acquire(place.pool, SOURCE, "me", 60)
    assert epoch is not None
    since = place.now - DAYS_95
    await place.fired_through(epoch, since)
    await place.put("wf_once", HOUR, since=0)
    await place.put("wf_all", {**HOUR, "missed": "all"}, since=0)
    await place.put("wf_skip", {"schedule": "0 0 1 1 *", "missed": "skip"}, since=0)
    await place.put("wf_new", {**HOUR, "missed": "all"}, since=place.now - 7200)
    await place.put("wf_month", {**MONTH, "missed": "all"}, since=0)
    await poll_until_idle(place, epoch)
    hours = place.expected(HOUR, since)
    assert await place.slots("wf_once") == hours[-1:]
    assert await place.slots("wf_all") == hours[-100:]
    assert await place.slots("wf_skip") == []
    assert await place.slots("wf_new") == place.expected(HOUR, place.now - 7201)
    assert await place.slots("wf_month") == place.expected(MONTH, since)
    await place.source.forget()  # another master takes over where the cursor is
    await poll_until_idle(place, epoch)
    assert await place.slots("wf_all") == hours[-100:]


async def test_slots_of_a_poll_that_failed_are_due_again(place: Place) -> None:
    epoch = await leases.acquire(place.pool, SOURCE, "me", 60)
    assert epoch is not None
    await place.fired_through(epoch, place.now - 2 * 3600)
    await place.put("wf_all", {**HOUR, "missed": "all"}, since=0)
    with pytest.raises(StaleEpoch):
        await place.source.poll(epoch + 1)
    assert await place.slots("wf_all") == []
    await poll_until_idle(place, epoch)
    assert await place.slots("wf_all") == place.expected(HOUR, place.now - 2 * 3600)


async def test_the_api_tells_the_next_five(client: Client) -> None:
    async def made(payload: dict[str, object]) -> str:
        definition = {"nodes": {"root": {"type": "cronjob", "payload": payload, "children": []}}}
        body = {"name": "w", "definition": definition}
        return str((await client.call("POST", "/v1/workflows", client.keys["mine"], body))[1]["data"]["id"])

    workflow = await made({"schedule": "30 9 * * *", "timezone": "Europe/Berlin"})
    path = f"/v1/workflows/{workflow}/schedule"
    _, answer = await client.call("GET", path, client.keys["mine"])
    assert answer["data"]["nextRunAt"] is None, "a draft does not run"
    assert answer["data"]["timezone"] == "Europe/Berlin"
    assert [slot[10:19] for slot in answer["data"]["nextRuns"]] == ["T09:30:00"] * 5
    _, answer = await client.call("GET", f"{path}?timezone=Mars/Olympus", client.keys["mine"])
    assert answer["code"] == 400330
    _, answer = await client.call("GET", f"/v1/workflows/{client.ids['workflows']}/schedule", client.keys["mine"])
    assert answer["code"] == 404000, "a webhook has no schedule"
