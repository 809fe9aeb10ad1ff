"""The route table: every line is described, documented, and lets in exactly whom it says."""

import re
from pathlib import Path

import openapi_spec_validator_rs
import pytest

from services.api.app import ROUTES, WRITE, Route
from services.api.descriptions import DESCRIBED
from services.api.openapi import document, page, routes
from tests.services.client import Client

KEYED = [route for route in ROUTES if route.need in ("read", "write")]
#: Paths that name something of an organization; the stream of an unknown run is held, see tests/system.
OWNED = [
    route
    for route in KEYED
    if re.search(r"/v1/(workflows|runs|connectors|api-keys|organizations|orgs|execution-webhooks)/\{\w+\}", route.path)
    and route.path != "/v1/runs/{id}/stream"
]


def filled(route: Route, client: Client) -> str:
    family = route.path.split("/")[2]
    own = client.ids.get(family, "component:postgres")
    path = route.path.replace("{id}", own).replace("{org}", own)
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
    body = {
        "name": "x",
        "versionNumber": 1,
        "remainRuns": 1,
        "definition": {"nodes": {"root": {"type": "manual", "payload": {}}}},
    }
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


def test_the_document_is_valid_and_whole() -> None:
    found = document()
    openapi_spec_validator_rs.validate(found)
    names: list[str] = []
    for path, operations in found["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            declared = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))
    assert len(names) == len(set(names))


def test_the_page_is_current() -> None:
    kept = (Path(__file__).parents[2] / "docs/api.md").read_text()
    assert kept == page(), "run python -m services.api.openapi > docs/api.md"
