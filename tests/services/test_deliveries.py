"""The delivery role against a real receiver: the signature, retries and their end, the guard, replay, isolation."""

import asyncio
import contextlib
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from b3os.errors import BadInput, NotFound
from b3os.net.guard import AllowList
from b3os.net.http import GuardedClient
from b3os.run.builtins.webhooks import BACKOFF_MOST_S, retry_delay_s
from b3os.store import deliveries
from b3os.store.pool import Pool, as_org, open_pool
from services.worker import deliveries as role
from services.worker.deliveries import Deliverer
from services.worker.effects.call import EffectCall
from services.worker.effects.send_webhook import send
from tests.emulators.receiver import Receiver
from tests.services.test_effects import MASTER_KEY, Effects
from tests.store.rows import make_workflow


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = await Receiver().start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def pool(pg_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(pg_url, max_size=4)
    await make_workflow(pool, "wf_a")
    await make_workflow(pool, "wf_b", "org_b")
    yield pool
    await pool.close()


class Sending:
    """A running delivery role, and webhooks given to it."""

    def __init__(self, pool: Pool, receiver: Receiver, effects: Effects, deliverer: Deliverer) -> None:
        self.pool = pool
        self.receiver = receiver
        self._effects = effects
        self._deliverer = deliverer

    async def send(self, path: str = "/hook", *, org: str = "org_a", host: str = "", **fields: Any) -> str:
        payload = {"url": f"http://{host or self.receiver.host}{path}", "body": {"n": 1}, **fields}
        key = f"run:{org}:{len(self.receiver.received)}:{path}"
        call = EffectCall(org_id=org, workflow_id="wf_a", run_id="r", node_id="n", input=payload, idempotency_key=key)
        delivery_id = (await send(self._effects.house, call))["deliveryId"]
        self._deliverer.nudge()
        return str(delivery_id)

    async def ended(self, delivery_id: str, org: str = "org_a") -> deliveries.Delivery:
        """Wait for the end of a delivery; every look wakes the role, so that no retry waits for its poll."""
        async with asyncio.timeout(30):
            while True:
                row = await deliveries.get_delivery(self.pool, org, delivery_id)
                if row.status in ("success", "failure"):
                    return row
                self._deliverer.nudge()
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def role_of(pool: Pool, receiver: Receiver, allow: str, folder: Path) -> AsyncIterator[Sending]:
    http = GuardedClient(allow)
    deliverer = Deliverer(pool, http, MASTER_KEY, first_retry_s=0.01)
    effects = Effects(pool, folder)
    effects.house.allow = AllowList(allow)
    task = asyncio.create_task(deliverer.serve())
    yield Sending(pool, receiver, effects, deliverer)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await effects.house.close()
    await http.close()


@pytest.fixture
async def sending(pool: Pool, receiver: Receiver, tmp_path: Path) -> AsyncIterator[Sending]:
    async with role_of(pool, receiver, receiver.host, tmp_path) as found:
        yield found


async def test_a_delivery_is_signed_and_has_its_headers(sending: Sending) -> None:
    headers = {"Authorization": "Bearer canary", "X-Plain": "p", "Content-Type": "application/vnd.x+json"}
    delivery_id = await sending.send(headers=headers, body={"amount": "1", "é": None})
    row = await sending.ended(delivery_id)
    (got,) = sending.receiver.received
    secret = await sending.pool.fetchval("select webhook_secret from organizations where org_id = 'org_a'")
    assert len(secret) >= 24
    assert got.body == '{"amount":"1","é":null}'.encode()
    assert got.headers["x-b3os-signature"] == hmac.new(secret.encode(), got.body, hashlib.sha256).hexdigest()
    assert (got.headers["x-b3os-delivery"], got.headers["authorization"]) == (delivery_id, "Bearer canary")
    assert (got.headers["x-plain"], got.headers["content-type"]) == ("p", "application/vnd.x+json")
    assert (row.status, row.response_status, row.response_body, row.retry_count) == ("success", 200, "thanks", 0)
    assert row.response_headers is not None
    assert row.response_headers["x-receiver"] == "r"
    assert "set-cookie" not in row.response_headers


@pytest.mark.parametrize(
    ("answers", "status", "requests", "response"),
    [([500, "drop", 429], "success", 4, 200), ([500, 404, 400, 503], "failure", 4, 503), (["large"], "success", 1, 200),
     ([301], "success", 2, 200), ([204], "success", 1, 204)],
)  # fmt: skip
async def test_failures_are_retried_up_to_the_limit(
    sending: Sending, answers: list[int | str], status: str, requests: int, response: int
) -> None:
    sending.receiver.answers.extend(answers)
    row = await sending.ended(await sending.send())
    assert (row.status, row.response_status) == (status, response)
    assert row.retry_count == min(requests - 1, 3)
    assert len(sending.receiver.received) == requests
    assert {got.path for got in sending.receiver.received} == {"/hook"}, "redirects are not followed"
    assert len({(got.body, got.headers["x-b3os-delivery"]) for got in sending.receiver.received}) == 1
    assert row.response_body is not None
    assert len(row.response_body) <= role.BODY_BYTES


async def test_no_retry_when_none_is_wanted(sending: Sending) -> None:
    sending.receiver.answers.append(500)
    row = await sending.ended(await sending.send(maxRetries=0))
    assert (row.status, row.error_message) == ("failure", "the receiver answered 500")
    assert len(sending.receiver.received) == 1


async def test_a_name_that_resolves_to_a_private_address_is_refused_at_once(
    pool: Pool, receiver: Receiver, tmp_path: Path
) -> None:
    name = f"localhost:{receiver.host.split(':')[1]}"  # its name is opened, so that the first look lets it pass
    async with role_of(pool, receiver, name, tmp_path) as sending:
        row = await sending.ended(await sending.send(host=name))
    assert (row.status, row.retry_count) == ("failure", 0)
    assert row.error_message == "the address is private or reserved"
    assert receiver.received == []


async def test_a_replay_is_a_new_delivery_with_the_old_secrets(sending: Sending) -> None:
    sending.receiver.answers.append(500)
    first = await sending.ended(await sending.send(maxRetries=0, headers={"x-api-key": "canary"}))
    async with as_org(sending.pool, "org_a") as db:
        again = await deliveries.replay_delivery(db, "org_a", first.id, "whd_2")
        await deliveries.replay_delivery(db, "org_a", "whd_2", "whd_3")
    assert (again.status, again.replay_of, again.retry_count) == ("pending", first.id, 0)
    for delivery_id in ("whd_2", "whd_3"):
        assert (await sending.ended(delivery_id)).status == "success"
    assert (await deliveries.get_delivery(sending.pool, "org_a", first.id)).status == "failure"
    assert [got.headers["x-api-key"] for got in sending.receiver.received] == ["canary"] * 3
    async with as_org(sending.pool, "org_a") as db:
        await deliveries.retry_delivery(db, "org_a", first.id)
    assert (await sending.ended(first.id)).status == "success"
    with pytest.raises(BadInput, match="only a failed one"):
        await deliveries.retry_delivery(sending.pool, "org_a", first.id)


async def test_deliveries_of_others_do_not_exist(sending: Sending) -> None:
    theirs = await sending.send(org="org_b")
    await sending.ended(theirs, "org_b")
    acts: list[Callable[[Any], Awaitable[Any]]] = [
        lambda db: deliveries.get_delivery(db, "org_a", theirs),
        lambda db: deliveries.replay_delivery(db, "org_a", theirs, "whd_9"),
        lambda db: deliveries.retry_delivery(db, "org_a", theirs),
        lambda db: deliveries.get_delivery(db, "org_b", theirs),
    ]
    for act in acts:
        with pytest.raises(NotFound):
            async with as_org(sending.pool, "org_a") as db:
                await act(db)
    secrets = await sending.pool.fetch("select webhook_secret from organizations where webhook_secret <> ''")
    await sending.ended(await sending.send())
    both = await sending.pool.fetch("select distinct webhook_secret from organizations where webhook_secret <> ''")
    assert (len(secrets), len(both)) == (1, 2)


async def add(pool: Pool, delivery_id: str, org: str = "org_a") -> None:
    new = deliveries.NewDelivery(
        org_id=org, id=delivery_id, workflow_id="", run_id="", node_id="", url="https://x", method="POST", headers={},
        secret_headers=None, body=b"", max_retries=0,
    )  # fmt: skip
    await deliveries.add(pool, new)


async def add_many(pool: Pool, org: str, count: int) -> None:
    await pool.execute(
        "insert into webhook_deliveries (org_id, id, url, max_retries) "
        "select $1, 'whd_m' || n, 'https://x', 0 from generate_series(1, $2::int) n",
        *(org, count),
    )
    await pool.execute("analyze webhook_deliveries")


async def pages_read(pool: Pool, name: str, *arguments: Any) -> int:
    """How many pages of the database a statement touches."""
    rows = await pool.fetch(f"explain (analyze, buffers, costs off, timing off) {deliveries._SQL[name]}", *arguments)
    total = next(row[0] for row in rows if "Buffers:" in row[0])
    return sum(int(count) for count in re.findall(r"(?:hit|read)=(\d+)", total))


async def test_an_address_that_never_answers_holds_up_its_own_organization_only(sending: Sending) -> None:
    sending.receiver.answers.extend(["silent"] * deliveries.EACH)
    held = [await sending.send(f"/dead/{n}") for n in range(2 * role.CONCURRENCY)]
    await sending.receiver.until(deliveries.EACH)
    sending.receiver.answers.clear()
    async with asyncio.timeout(role.TIMEOUT_S / 2):
        assert (await sending.ended(await sending.send("/live", org="org_b"), "org_b")).status == "success"
    assert [got.path for got in sending.receiver.received][deliveries.EACH :] == ["/live"]
    assert (await deliveries.get_delivery(sending.pool, "org_a", held[-1])).status == "pending"


async def test_of_an_organization_a_bounded_number_is_in_flight_and_others_take_turns(pool: Pool) -> None:
    await add_many(pool, "org_a", 100)
    await add(pool, "whd_late", "org_b")
    first = await deliveries.claim_due(pool, 2, 60)
    assert sorted(due.org_id for due in first) == ["org_a", "org_b"], "who came first does not take all"
    claims = await asyncio.gather(*(deliveries.claim_due(pool, 20, 60) for _ in range(4)))
    held = [due for claim in claims for due in claim]
    assert len(held) == len({due.id for due in held}) == deliveries.EACH - 1
    assert await deliveries.claim_due(pool, 20, 60) == []
    for due in held[:2]:
        await deliveries.finish(pool, due, deliveries.Attempt(is_success=True))
    assert len(await deliveries.claim_due(pool, 20, 60)) == 2, "what has ended makes room"


async def test_a_claim_reads_as_little_when_much_waits(pool: Pool) -> None:
    arguments = ("claim_due", 50, 60.0, deliveries.EACH, deliveries.LATE_S)
    await add_many(pool, "org_b", 100)
    few = await pages_read(pool, *arguments)
    await add_many(pool, "org_a", 20_000)
    assert await pages_read(pool, *arguments) < 3 * few
    await pool.execute("update webhook_deliveries set next_retry_at = now() + interval '1 h', claimed_until = null")
    await pool.execute("vacuum analyze webhook_deliveries")
    assert await pages_read(pool, *arguments) < few, "nothing is due"


async def test_each_log_is_read_without_the_others_rows(pool: Pool) -> None:
    arguments = ("org_a", None, None, 20, 0, None)
    await add_many(pool, "org_a", 20_000)
    assert await pages_read(pool, "list_of_nodes", *arguments) < 100
    assert await pages_read(pool, "list_of_hooks", *arguments) < 100
    await pool.execute("update webhook_deliveries set endpoint_id = 'hook_1'")
    await pool.execute("vacuum analyze webhook_deliveries")
    assert await pages_read(pool, "list_of_nodes", *arguments) < 100
    assert await pages_read(pool, "list_of_hooks", *arguments) < 100


async def test_what_waited_too_long_is_given_up_unsent(sending: Sending) -> None:
    await sending.pool.execute(
        "insert into webhook_deliveries (org_id, id, url, max_retries, next_retry_at) "
        "select 'org_a', 'whd_' || hours, $1, 3, now() - make_interval(hours => hours) from unnest($2::int[]) hours",
        *(f"http://{sending.receiver.host}/hook", [23, 25]),
    )
    row = await sending.ended("whd_25")
    assert (row.status, row.error_message, row.next_retry_at) == ("failure", role.LATE, None)
    assert (await sending.ended("whd_23")).status == "success"
    assert [got.headers["x-b3os-delivery"] for got in sending.receiver.received] == ["whd_23"]
    await deliveries.retry_delivery(sending.pool, "org_a", "whd_25")
    assert (await sending.ended("whd_25")).status == "success", "it may be asked for again"


async def test_a_claim_keeps_others_away_until_it_lapses(pool: Pool) -> None:
    await add(pool, "whd_1")
    claims = await asyncio.gather(*(deliveries.claim_due(pool, 5, 60) for _ in range(4)))
    assert [due.id for claim in claims for due in claim] == ["whd_1"]
    await pool.execute("update webhook_deliveries set claimed_until = now() - interval '1 s'")
    (due,) = await deliveries.claim_due(pool, 5, 60)
    await deliveries.finish(pool, due, deliveries.Attempt(is_success=True))
    await deliveries.finish(pool, due, deliveries.Attempt(is_success=False))
    assert (await deliveries.get_delivery(pool, "org_a", "whd_1")).status == "success", "the first answer stays"
    assert await deliveries.remove_deliveries(pool, datetime.now(UTC).date() + timedelta(days=1), 10) == 1
    assert await deliveries.list_deliveries(pool, "org_a") == []


def test_retries_grow_and_spread() -> None:
    waits = [retry_delay_s("whd_1", retry, 10.0) for retry in range(1, 11)]
    assert waits[:7] == sorted(waits[:7])
    assert 9 <= waits[0] <= 11
    assert 36 <= waits[1] <= 44
    assert waits[-1] <= BACKOFF_MOST_S * 1.1
    assert len({retry_delay_s(f"whd_{n}", 1, 10.0) for n in range(50)}) == 50
