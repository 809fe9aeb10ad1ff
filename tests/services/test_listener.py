"""A master's listener over real HTTP gives the answers that the API gives, to the same calls."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from b3os.detect.sample_calls import CALLS
from b3os.process import serve_asgi
from b3os.settings import Settings
from b3os.store.pool import open_pool
from b3os.wire import BODY_LIMIT
from services.api.app import Api
from services.api.house import House
from services.master.app import Master
from tests.emulators.senders import SECRETS, sign
from tests.services.client import Client
from tests.system.house import free_port

Call = tuple[str, str, bytes, dict[str, str]]


class Doors:
    """The ports of an API and of a master, and what is behind them: a plain workflow, a signed one, one that waits."""

    def __init__(self, ports: tuple[int, int], client: Client, session: aiohttp.ClientSession) -> None:
        self.ports, self.client, self.session = ports, client, session
        #: Ends both.
        self.stop = asyncio.Event()
        self.key, self.org = client.keys["mine"], client.ids["orgs"]

    async def publish(self, nodes: dict[str, Any]) -> str:
        """Publish a workflow; returns its secret."""
        body = {"name": "n", "definition": {"nodes": nodes}}
        made = (await self.client.call("POST", "/v1/workflows", self.key, body))[1]["data"]
        status, answer = await self.client.call("POST", f"/v1/workflows/{made['id']}/publish", self.key)
        assert status == 200, answer
        return str(answer["data"]["triggerSecret"])

    async def ask(self, call: Call) -> tuple[tuple[int, Any], tuple[int, Any]]:
        """Make one call at both doors."""
        method, path, body, headers = call
        found = []
        for port in self.ports:
            url = f"http://127.0.0.1:{port}{path}"
            async with self.session.request(method, url, data=io.BytesIO(body), headers=headers) as response:
                assert response.headers["content-type"] == "application/json"
                found.append((response.status, await response.json()))
        return found[0], found[1]


@pytest.fixture
async def doors(house: House, client: Client, api_settings: Settings) -> AsyncIterator[Doors]:
    ports = free_port(), free_port()
    settings = msgspec.structs.replace(api_settings, webhook_port=ports[1])
    pool = await open_pool(settings.database_url, max_size=4)
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        found = Doors(ports, client, session)
        master = Master(pool=pool, calls=pool, settings=settings, stop=found.stop)
        await master.start()
        ready = [asyncio.Event(), asyncio.Event()]
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_asgi(Api(house), "127.0.0.1", ports[0], found.stop, on_ready=ready[0].set))
            group.create_task(master.serve(ready[1].set))
            for one in ready:
                await one.wait()
            yield found
            found.stop.set()
        await master.close()
    await pool.close()


def shape(answer: Any) -> Any:
    """An answer without what is made anew for each call."""
    made = ("requestId", "eventId", "runId", "runIds")
    return (
        {key: shape(value) for key, value in answer.items() if key not in made} if isinstance(answer, dict) else answer
    )


WEBHOOK = {"type": "webhook", "payload": {}, "children": []}


async def test_the_same_call_has_the_same_answer_at_both_doors(doors: Doors) -> None:
    secret = await doors.publish({"root": WEBHOOK})
    address, org = f"/v1/webhooks/{secret}", f"/v1/orgs/{doors.org}/integrations"
    js = {"content-type": "application/json"}
    calls: list[tuple[Call, int]] = [
        (("POST", address, b'{"n":1}', js), 200),
        (("POST", address + "/", b'{"n":1}', js), 200),
        (("POST", address, b"a=1&b=2", {"content-type": "application/x-www-form-urlencoded"}), 200),
        (("POST", address, b"{", js), 400),
        (("POST", address, b" " * (BODY_LIMIT + 1), js), 413),
        (("POST", address, b"{}", {**js, "idempotency-key": "k" * 256}), 400),
        (("POST", "/v1/webhooks/unknown", b"{}", js), 404),
        (("POST", "/v1/webhooks/%00", b"{}", js), 400),
        (("GET", "/v1/nothing", b"", {}), 404),
        (("POST", f"{org}/webhook?secret={secret}", b'{"data":{"n":1}}', js), 200),
        (("POST", f"{org}/webhook?secret={secret}", b'{"runId":7,"nodeId":"w"}', js), 400),
        (("POST", f"{org}/webhook?secret=unknown", b"{}", js), 404),
        (("POST", f"/v1/orgs/org_other/integrations/webhook?secret={secret}", b"{}", js), 404),
        (("POST", f"{org}/webhook?secret={secret}", b'{"runId":"run_x","nodeId":"w"}', js), 404),
        (("POST", f"{org}/stripe", b"{}", js), 401),
        (("POST", f"{org}/nobody", b"{}", js), 400),
    ]
    for call, status in calls:
        at_api, at_master = await doors.ask(call)
        assert (at_api[0], shape(at_api[1])) == (at_master[0], shape(at_master[1])), call[:2]
        assert at_api[0] == status, (call[:2], at_api)


async def test_a_key_is_known_at_the_other_door(doors: Doors) -> None:
    secret = await doors.publish({"root": WEBHOOK})
    call: Call = ("POST", f"/v1/webhooks/{secret}", b'{"n":1}', {"idempotency-key": "once"})
    at_api, at_master = await doors.ask(call)
    assert at_api[1]["data"]["status"] == "accepted"
    assert at_master[1]["data"] == {"runId": at_api[1]["data"]["runId"], "status": "duplicate"}
    other = [answer[0] for answer in await doors.ask((*call[:2], b'{"n":2}', call[3]))]
    assert other == [422, 422]


async def test_a_signed_call_is_known_at_the_other_door(doors: Doors) -> None:
    connector = {"name": "s", "type": "webhook-secret", "data": {"signingSecret": SECRETS["stripe"]}}
    made = (await doors.client.call("POST", "/v1/connectors", doors.key, connector))[1]["data"]["id"]
    root = {"type": "stripe-payment-receive", "payload": {}, "children": []}
    secret = await doors.publish({"root": {**root, "connector": {"type": "webhook-secret", "id": made}}})
    body = json.dumps(CALLS["stripe"]).encode()
    at_api, at_master = await doors.ask(
        ("POST", f"/v1/webhooks/{secret}", body, sign("stripe", body, at=int(time.time())))
    )
    assert at_master[1]["data"] == {"runId": at_api[1]["data"]["runId"], "status": "duplicate"}
    refused = await doors.ask(("POST", f"/v1/webhooks/{secret}", body, sign("stripe", b"{}", at=int(time.time()))))
    assert [answer[0] for answer in refused] == [401, 401]
    assert shape(refused[0][1]) == shape(refused[1][1])


async def test_nothing_but_inbound_addresses_is_behind_the_masters_door(doors: Doors) -> None:
    for method, path in (("GET", "/v1/whoami"), ("POST", "/v1/bootstrap"), ("GET", "/metrics"), ("GET", "/healthz")):
        url, headers = f"http://127.0.0.1:{doors.ports[1]}{path}", {"authorization": f"Bearer {doors.key}"}
        async with doors.session.request(method, url, headers=headers) as response:
            assert response.status == 404


async def test_a_call_that_is_still_read_holds_no_source_up_when_the_master_stops(doors: Doors, house: House) -> None:
    held = "select count(*) from leases where until > now()"
    while not await house.pool.fetchval(held):
        await asyncio.sleep(0.02)
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.ports[1])
    writer.write(b"POST /v1/webhooks/s HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n{")
    await writer.drain()
    doors.stop.set()
    async with asyncio.timeout(1.5):  # less than what is left of any lease that was just renewed
        while await house.pool.fetchval(held):
            await asyncio.sleep(0.02)
    writer.close()
    await reader.read()
