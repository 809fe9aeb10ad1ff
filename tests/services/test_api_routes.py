"""The route table: every line is described, documented, and lets in exactly whom it says."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from b3os.settings import Settings
from b3os.store.pool import open_pool
from services.api.app import ROUTES, WRITE, Api, Route
from services.api.descriptions import DESCRIBED
from services.api.house import House
from services.api.openapi import document, page, routes

MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
KEYED = [route for route in ROUTES if route.need in ("read", "write")]
#: Paths that name something of an organization; the stream of an unknown run is held, see tests/system.
OWNED = [
    route
    for route in KEYED
    if re.search(r"/(workflows|runs|connectors|api-keys)/\{id\}", route.path) and not route.path.endswith("/stream")
]


class Client:
    """Calls the ASGI application as a server would."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.keys: dict[str, str] = {}
        self.ids: dict[str, str] = {}

    async def call(self, method: str, path: str, key: str = "", body: Any = None) -> tuple[int, Any]:
        headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
        sent: list[dict[str, Any]] = []
        incoming = iter([{"type": "http.request", "body": msgspec.json.encode(body) if body is not None else b""}])

        async def receive() -> dict[str, Any]:
            return next(incoming, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._api(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in sent[1:])
        is_json = dict(sent[0]["headers"])[b"content-type"] == b"application/json"
        return sent[0]["status"], msgspec.json.decode(text) if is_json else text.decode()


@pytest.fixture
async def client(pg_url: str, redis_url: str) -> AsyncIterator[Client]:
    settings = Settings(
        database_url=pg_url, redis_ops_url=redis_url, redis_data_url=redis_url, master_key=MASTER_KEY
    )  # fmt: skip
    house = House(await open_pool(pg_url, max_size=4), settings, asyncio.Event())
    found = Client(Api(house))
    for name in ("mine", "theirs"):
        found.keys[name] = (await found.call("POST", "/v1/bootstrap"))[1]["data"]["apiKey"]
    mine = found.keys["mine"]
    _, made = await found.call("POST", "/v1/api-keys", mine, {"name": "reader", "scope": "read"})
    found.keys["reader"] = made["data"]["key"]
    definition = {"nodes": {"root": {"type": "webhook", "payload": {}, "children": []}}}
    _, workflow = await found.call("POST", "/v1/workflows", mine, {"name": "w", "definition": definition})
    found.ids["workflows"] = workflow["data"]["id"]
    await found.call("POST", f"/v1/workflows/{found.ids['workflows']}/publish", mine)
    _, run = await found.call("POST", f"/v1/workflows/{found.ids['workflows']}/run", mine)
    found.ids["runs"], found.ids["api-keys"] = run["data"]["runId"], made["data"]["id"]
    secret = {"name": "c", "type": "discord", "data": {"botToken": "d" * 40}}
    found.ids["connectors"] = (await found.call("POST", "/v1/connectors", mine, secret))[1]["data"]["id"]
    yield found
    await house.close()


def filled(route: Route, client: Client) -> str:
    family = route.path.split("/")[2]
    path = route.path.replace("{id}", client.ids.get(family, "component:postgres"))
    return re.sub(r"\{\w+\}", "root", path)


@pytest.mark.parametrize("route", KEYED, ids=lambda route: f"{route.method} {route.path}")
async def test_a_key_is_needed_and_its_scope_holds(client: Client, route: Route) -> None:
    path = filled(route, client)
    assert (await client.call(route.method, path))[0] == 401
    assert (await client.call(route.method, path, "b3sk_wrong"))[0] == 401
    if route.need == WRITE:
        status, answer = await client.call(route.method, path, client.keys["reader"])
        assert (status, answer["code"]) == (403, 403000)


@pytest.mark.parametrize("route", OWNED, ids=lambda route: f"{route.method} {route.path}")
async def test_what_others_own_is_not_there(client: Client, route: Route) -> None:
    body = {"name": "x", "versionNumber": 1, "definition": {"nodes": {"root": {"type": "manual", "payload": {}}}}}
    status, answer = await client.call(route.method, filled(route, client), client.keys["theirs"], body)
    assert (status, answer["code"]) == (404, 404000), answer


async def test_open_routes_need_no_key(client: Client) -> None:
    for route in ROUTES:
        if route.need == "anyone" and route.method == "GET" and "{" not in route.path:
            assert (await client.call("GET", route.path))[0] == 200, route.path


async def test_the_document_is_served_without_an_envelope(client: Client) -> None:
    status, answer = await client.call("GET", "/openapi.json")
    assert (status, answer["openapi"]) == (200, "3.1.0")


def test_every_route_is_described_once() -> None:
    assert [route[:2] for route in routes()].count(("GET", "/openapi.json")) == 1
    assert {route[:2] for route in routes()} == set(DESCRIBED)
    assert all(about.summary.endswith(".") for about in DESCRIBED.values())


def test_the_document_is_whole() -> None:
    found = document()
    names: list[str] = []
    for path, operations in found["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            declared = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))
            for media in operation.get("requestBody", {}).get("content", {}).values():
                jsonschema_rs.validator_for(media["schema"])
    assert len(names) == len(set(names))
    for reference in re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(found).decode()):
        jsonschema_rs.validator_for(found["components"]["schemas"][reference])


async def test_answers_have_the_shapes_of_the_document(client: Client) -> None:
    shapes = document()["components"]["schemas"]
    for path in ("/v1/whoami", "/v1/workflows", "/v1/runs", "/v1/connectors", "/v1/api-keys", "/v1/actions"):
        _, answer = await client.call("GET", path, client.keys["mine"])
        jsonschema_rs.validator_for(shapes["Envelope"]).validate(answer)
        if path != "/v1/whoami":
            jsonschema_rs.validator_for(shapes["Page"]).validate(answer["data"])
    _, refused = await client.call("GET", "/v1/runs/run_none", client.keys["mine"])
    jsonschema_rs.validator_for(shapes["Failure"]).validate(refused)


def test_the_page_is_current() -> None:
    kept = (Path(__file__).parents[2] / "docs/api.md").read_text()
    assert kept == page(), "run python -m services.api.openapi > docs/api.md"
