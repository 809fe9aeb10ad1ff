"""Every route's answer has exactly the members that /openapi.json promises: real answers against the types.

One story touches all routes, with a real worker beside the API; what the types do not name makes a test fail.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from b3os.detect.sample_calls import CALLS
from b3os.settings import Settings
from b3os.store import deliveries, health, leases, source_states
from b3os.store.pool import open_pool
from services.api.app import ROUTES, find_route
from services.api.descriptions import DESCRIBED
from services.api.house import House
from services.api.openapi import document
from services.worker.app import Worker
from tests.emulators.node import Node
from tests.emulators.senders import SECRETS, sign
from tests.services.client import Client

TOLD = [(r.method, r.path) for r in ROUTES if DESCRIBED[r.method, r.path].data is not None]
NODES = {
    "root": {"type": "webhook", "payload": {}, "children": ["each"]},
    "each": {"type": "for-each", "payload": {"array": [1, 2]}, "loopBody": ["say"], "children": ["hold"]},
    "say": {"type": "log", "payload": {"message": "{{$item}}"}, "children": []},
    "hold": {"type": "wait", "payload": {"timeoutMs": 600000}, "children": ["after"]},
    "after": {"type": "regex", "branch": "resumed", "payload": {"pattern": "(", "text": "x"}, "children": []},
}
WAITING = {
    "nodes": {
        "root": {"type": "webhook", "payload": {}, "children": ["hold"]},
        "hold": {"type": "wait", "payload": {"timeoutMs": 600000}, "children": []},
    }
}
READS = (
    "/v1/connectors",
    "/v1/connector-types",
    "/v1/connector-types/slack",
    "/v1/actions?limit=100",
    "/v1/actions?summary=true",
    "/v1/actions/http-request",
    "/v1/triggers",
    "/v1/triggers/webhook",
    "/v1/logic-actions",
    "/v1/chains",
    "/v1/sources",
    "/v1/health/checks",
    "/v1/health/checks/component:x",
)


@pytest.fixture
async def worker(api_settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    pool = await open_pool(api_settings.database_url, max_size=4)
    serving = asyncio.create_task(Worker(pool=pool, settings=api_settings, stop=stop).serve())
    yield
    stop.set()
    await serving
    await pool.close()


class Story:
    """Calls routes and keeps the last answers of each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.answers: dict[tuple[str, str], list[Any]] = {}

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call that must succeed; returns `data`."""
        status, answer = await self._client.call(method, path, self._client.keys["mine"], body)
        assert status == 200, (method, path, answer)
        route, _ = find_route(method, path.partition("?")[0])
        self.answers.setdefault((method, route.path), []).append(answer)
        return answer["data"]

    async def until(self, path: str, status: str) -> Any:
        """Ask until the status is reached."""
        async with asyncio.timeout(20):
            while (found := await self.ask("GET", path))["status"] != status:
                await asyncio.sleep(0.02)
        return found


async def organizations(story: Story, client: Client) -> None:
    org = client.ids["orgs"]
    await story.ask("POST", "/v1/bootstrap")
    for path in ("/healthz", "/readyz", "/v1/whoami", "/v1/organizations", f"/v1/organizations/{org}",
                 f"/v1/orgs/{org}/members", "/v1/api-keys"):  # fmt: skip
        await story.ask("GET", path)
    await story.ask("PUT", f"/v1/organizations/{org}", {"name": "Ours", "photo": "https://example.com/a.png"})
    key = await story.ask("POST", "/v1/api-keys", {"name": "k", "expiresAt": "2999-01-01T00:00:00Z"})
    await story.ask("GET", f"/v1/api-keys/{key['id']}")
    await story.ask("DELETE", f"/v1/api-keys/{key['id']}")


async def workflows(story: Story) -> tuple[str, str]:
    """Return the id and the secret of a published workflow."""
    made = await story.ask("POST", "/v1/workflows", {"name": "n", "maxRuns": 9, "definition": {"nodes": NODES}})
    path = f"/v1/workflows/{made['id']}"
    await story.ask("PUT", path, {"definition": WAITING, "uiMetadata": {"x": 1}})
    await story.ask("POST", f"{path}/rollback", {"versionNumber": 1})
    await story.ask(
        "POST", "/v1/workflows/validate", {"definition": {"nodes": {"root": {"type": "no", "payload": {}}}}}
    )
    live = await story.ask("POST", f"{path}/publish")
    for action in ("pause", "resume"):
        await story.ask("POST", f"{path}/{action}")
    await story.ask("POST", f"{path}/refill", {"remainRuns": 5})
    for read in (path, f"{path}/versions", "/v1/workflows"):
        await story.ask("GET", read)
    live = await story.ask("POST", f"{path}/rotate-secret")
    other = await story.ask("POST", "/v1/workflows", {"name": "o", "definition": WAITING})
    await story.ask("DELETE", f"/v1/workflows/{other['id']}")
    await story.ask("POST", f"/v1/workflows/{other['id']}/unarchive")
    timed = {"nodes": {"root": {"type": "cronjob", "payload": {"schedule": "@daily"}, "children": []}}}
    daily = await story.ask("POST", "/v1/workflows", {"name": "d", "definition": timed})
    await story.ask("GET", f"/v1/workflows/{daily['id']}/schedule")
    return made["id"], live["triggerSecret"]


async def runs(story: Story, client: Client, workflow_id: str, secret: str) -> None:
    fired = await story.ask("POST", f"/v1/webhooks/{secret}", {"a": 1})
    run = f"/v1/runs/{fired['runId']}"
    calls = f"/v1/workflows/{workflow_id}/webhook-calls"
    (call,) = (await story.ask("GET", calls))["items"]
    await story.ask("POST", f"{calls}/{call['id']}/replay")
    await story.until(run, "waiting")
    await story.ask("GET", f"{run}/why")
    await story.ask("POST", f"{run}/nodes/hold/resume", {"data": {"b": 2}})
    await story.until(run, "failure")
    await story.ask("GET", f"{run}?summary=true")
    await story.ask("GET", f"{run}/why")
    again = await story.ask("POST", f"{run}/retry")
    await story.until(f"/v1/runs/{again['runId']}", "failure")
    started = await story.ask("POST", f"/v1/workflows/{workflow_id}/run", {"payload": {"c": 3}})
    await story.until(f"/v1/runs/{started['runId']}", "waiting")
    inbound = f"/v1/orgs/{client.ids['orgs']}/integrations/webhook?secret={secret}"
    await story.ask("POST", inbound, {"runId": started["runId"], "nodeId": "hold", "data": {}})
    held = await story.ask("POST", inbound, {"data": {"d": 4}})
    await story.ask("POST", f"/v1/runs/{held['runIds'][0]}/cancel")
    await story.ask("GET", "/v1/runs")


async def state(story: Story, client: Client, house: House) -> None:
    org = client.ids["orgs"]
    database = f"/v1/organizations/{org}/database"
    await story.ask("POST", f"{database}/query", {"sql": "create table t (a integer primary key, b text default 'x')"})
    await story.ask("POST", f"{database}/query", {"sql": "insert into t values (1, ?) returning *", "params": ["y"]})
    await story.ask("POST", f"{database}/query", {"sql": "select * from t"})
    await story.ask("GET", f"{database}/tables")
    await story.ask("GET", f"{database}/tables/t")
    new = deliveries.NewDelivery(
        org_id=org, id="whd_1", workflow_id="w", run_id="r", node_id="n", url="https://127.0.0.1/", method="POST",
        headers={"a": "b"}, secret_headers=None, body=b"{}", max_retries=0,
    )  # fmt: skip
    await deliveries.add(house.pool, new)
    for kind in ("outbound-webhook", "execution-webhooks"):
        await story.ask("GET", f"/v1/{kind}/deliveries")
        await story.ask("POST", f"/v1/{kind}/deliveries/whd_1/replay")
        await story.until(f"/v1/{kind}/deliveries/whd_1", "failure")
        await story.ask("POST", f"/v1/{kind}/deliveries/whd_1/retry")
    hook = {"name": "h", "url": "https://example.com/h", "subscribedEventTypes": ["event.removed"]}
    made = (await story.ask("POST", "/v1/execution-webhooks", hook))["endpoint"]["id"]
    for action in ("regenerate-secret", "disable", "enable"):
        await story.ask("POST", f"/v1/execution-webhooks/{made}/{action}")
    for path in ("/v1/execution-webhooks", f"/v1/execution-webhooks/{made}"):
        await story.ask("GET", path)


async def signed(story: Story, client: Client) -> None:
    root = {"type": "telegram-channel", "payload": {"signingSecret": SECRETS["telegram"]}}
    made = await story.ask("POST", "/v1/workflows", {"name": "s", "definition": {"nodes": {"root": root}}})
    await story.ask("POST", f"/v1/workflows/{made['id']}/publish")
    path, headers = f"/v1/orgs/{client.ids['orgs']}/integrations/telegram", sign("telegram", b"")
    _, answer = await client.call("POST", path, body=CALLS["telegram"], headers=headers)
    story.answers["POST", "/v1/orgs/{org}/integrations/{provider}"] = [answer]


async def rest(story: Story) -> None:
    log = {"inputs": {"chainId": 31337, "address": "0x" + "aa" * 20, "confirmations": 0}}
    await story.ask("POST", "/v1/triggers/cronjob/test")
    assert (await story.ask("POST", "/v1/triggers/evm-log/backtest", log))["items"]
    secret = {"name": "c", "type": "discord", "description": "d", "data": {"botToken": "d" * 40}}
    connector = f"/v1/connectors/{(await story.ask('POST', '/v1/connectors', secret))['id']}"
    await story.ask("PUT", connector, {"name": "renamed"})
    for path in READS:
        await story.ask("GET", path)
    await story.ask("GET", connector)
    await story.ask("DELETE", connector)


@pytest.fixture
def api_settings(api_settings: Settings, node: Node) -> Settings:
    node.mine([{"address": "0x" + "aa" * 20, "topics": []}])
    chains = msgspec.json.encode([{"id": 31337, "name": "local", "rpcUrls": [node.url]}]).decode()
    return msgspec.structs.replace(api_settings, chains=chains)


async def test_answers_are_what_the_document_promises(client: Client, house: House, worker: None) -> None:
    await health.add_results(house.pool, [health.HealthResult("component:x", "component", "healthy", 1.25)])
    detail = {"announced": 9, "head": 9, "final": 4, "seen": 8, "missing": 1, "gaps": [[3, 3]], "upstreams": []}
    told = [source_states.Told("chain:1", "1 blocks", "it said no", 1.0, detail), source_states.Told("cron")]
    for one in told:
        await leases.acquire(house.pool, one.source, "master_1", 60)
    await leases.renew(house.pool, "master_1", [one.source for one in told], 60, told)
    story = Story(client)
    await organizations(story, client)
    workflow_id, secret = await workflows(story)
    await runs(story, client, workflow_id, secret)
    await state(story, client, house)
    await signed(story, client)
    await rest(story)
    assert set(TOLD) == set(story.answers), "the story asks every route"
    shapes = document()
    for key, answers in story.answers.items():
        kind = DESCRIBED[key].data
        method, path = key
        schema = shapes["paths"][path][method.lower()]["responses"]["200"]["content"]["application/json"]["schema"]
        validator = jsonschema_rs.validator_for({**schema, "components": shapes["components"]})
        for answer in answers:
            validator.validate(answer)
            # What the type does not name is dropped on the way through it, and the two differ.
            assert msgspec.to_builtins(msgspec.convert(answer["data"], kind)) == answer["data"], key
