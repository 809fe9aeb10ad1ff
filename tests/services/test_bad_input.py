"""Whatever a caller sends, the answer is an envelope with a stable code below 500, and nothing is misapplied."""

from typing import Any

from b3os.inbound.forms import ADDRESS, ORG_ADDRESS
from services.api.app import ROUTES, Route
from services.api.descriptions import DESCRIBED
from tests.services.client import Client
from tests.services.test_api_routes import filled

BODIES = [r for r in ROUTES if DESCRIBED[r.method, r.path].body is not None and r.path != "/v1/bootstrap"]
LISTS = [r for r in ROUTES if DESCRIBED[r.method, r.path].is_paged]
NAMED = [r for r in ROUTES if "{" in r.path and r.path != "/v1/runs/{id}/stream"]
#: What no member of any body is, or what no store can hold.
ODD: tuple[Any, ...] = (None, True, -1, 2**31, 2**53, 10**40, 1.5, "", "a\x00b", "x" * 20_000, [], [[]], {}, {"a": [1]})
NO_JSON = (b"{", b"nonsense", b'{"a":1}x', b"\xff\xfe", b'"\\ud800"', b"[" * 100_000)
NO_OBJECTS = (b"[]", b'"x"', b"1", b"null")
DEFINITION = {"nodes": {"root": {"type": "webhook", "payload": {}, "children": []}}}


async def path_of(client: Client, route: Route) -> str:
    """A path of the route that exists, with the right secret."""
    if "{secret}" not in route.path and "secret" not in DESCRIBED[route.method, route.path].query:
        return filled(route, client)
    _, made = await client.call("GET", f"/v1/workflows/{client.ids['workflows']}", client.keys["mine"])
    secret = made["data"]["triggerSecret"]
    path = filled(route, client) if "{secret}" not in route.path else f"/v1/webhooks/{secret}"
    return path if "{secret}" in route.path else f"{path}?secret={secret}"


def is_refusal(status: int, answer: Any) -> bool:
    return 400 <= status < 500 and answer["code"] // 1000 == status and bool(answer["message"]) and "data" not in answer


async def test_a_body_that_is_no_json_object_is_refused(client: Client) -> None:
    for route in BODIES:
        path = await path_of(client, route)
        # What services send to an address of a workflow is theirs to choose, as long as it is JSON.
        others = () if route.path in (ADDRESS, ORG_ADDRESS) else NO_OBJECTS
        for raw in (*NO_JSON, *others):
            status, answer = await client.call(route.method, path, client.keys["mine"], raw=raw)
            assert status in (400, 404, 409), (route.path, raw[:20], answer)
            assert is_refusal(status, answer), (route.path, raw[:20], answer)


async def test_a_body_over_one_megabyte_is_refused(client: Client) -> None:
    for route in BODIES:
        raw = b'{"name":"' + b"x" * 1024 * 1024 + b'"}'
        status, answer = await client.call(route.method, await path_of(client, route), client.keys["mine"], raw=raw)
        assert (status, answer["code"]) == (413, 413000), route.path


async def test_no_value_of_a_member_breaks_a_route(client: Client) -> None:
    for route in BODIES:
        path = await path_of(client, route)
        about = DESCRIBED[route.method, route.path]
        good = {
            "name": "n",
            "definition": DEFINITION,
            "versionNumber": 1,
            "type": "discord",
            "data": {"botToken": "d" * 40},
            "remainRuns": 1,
            "runId": client.ids["runs"],
            "nodeId": "root",
        }
        members = about.body or {}
        for name in members if members.get("type") != "object" else ():
            for value in ODD:
                body = {key: good[key] for key in members if key in good} | {name: value}
                status, answer = await client.call(route.method, path, client.keys["mine"], body)
                assert status < 500, (route.path, name, value, answer)
                assert status == 200 or is_refusal(status, answer), (route.path, name, value, answer)


async def test_paging_is_clamped_and_words_are_refused(client: Client) -> None:
    for route in LISTS:
        path = filled(route, client)
        for query, limit, offset in (("limit=300", 100, 0), ("limit=0", 1, 0), ("limit=-5&offset=-5", 1, 0),
                                     ("", 20, 0), (f"limit=5&offset={10**30}", 5, 2**31 - 1)):  # fmt: skip
            status, answer = await client.call("GET", f"{path}?{query}", client.keys["mine"])
            assert status == 200, (route.path, answer)
            assert (answer["data"]["limit"], answer["data"]["offset"]) == (limit, offset), route.path
        for query in ("limit=many", "offset=1.5", "limit=1e3"):
            status, answer = await client.call("GET", f"{path}?{query}", client.keys["mine"])
            assert (status, answer["code"]) == (400, 400411), route.path


async def test_ids_that_are_no_ids_are_refused(client: Client) -> None:
    for route in NAMED:
        for value in ("a\x00b", "wf_" + "x" * 3000, "%00", "'; drop table runs; --", "\udcff", "…"):
            path = route.path.replace("{id}", value).replace("{secret}", value).replace("{type}", value)
            path = path.replace("{org}", value).replace("{node}", "root")
            body = {"versionNumber": 1, "remainRuns": 1, "name": "n"}
            status, answer = await client.call(route.method, path, client.keys["mine"], body)
            assert is_refusal(status, answer), (route.path, value, answer)


async def test_unknown_members_are_ignored_and_never_applied(client: Client) -> None:
    mine = client.keys["mine"]
    _, theirs = await client.call("GET", "/v1/whoami", client.keys["theirs"])
    forged = {"id": "wf_forged", "organizationId": theirs["data"]["organizationId"], "status": "active", "version": 9,
              "createdBy": "user_forged", "triggerSecret": "forged", "visibility": "public_execute",
              "hasLiveVersion": True, "skipAIGeneration": True}  # fmt: skip
    _, made = await client.call("POST", "/v1/workflows", mine, {"name": "n", "definition": DEFINITION, **forged})
    _, changed = await client.call("PUT", f"/v1/workflows/{made['data']['id']}", mine, {"name": "m", **forged})
    _, own = await client.call("GET", "/v1/whoami", mine)
    for answer in (made["data"], changed["data"]):
        assert answer["organizationId"] == own["data"]["organizationId"]
        assert answer["createdBy"] == own["data"]["userId"]
        shown = (answer["status"], answer["version"], answer["visibility"], answer["triggerSecret"])
        assert shown == ("draft", 1, "private", None)
        assert answer["id"] != "wf_forged"
    _, key = await client.call("POST", "/v1/api-keys", client.keys["mine"], {"name": "k", "scope": "read", **forged})
    assert (key["data"]["organizationId"], key["data"]["id"]) != (forged["organizationId"], forged["id"])
    assert key["data"]["organizationId"] == own["data"]["organizationId"]
    org = f"/v1/organizations/{client.ids['orgs']}"
    _, renamed = await client.call("PUT", org, mine, {"name": "N", "slug": "taken", "tier": "gold", "id": "org_x"})
    assert (renamed["data"]["name"], renamed["data"]["tier"], renamed["data"]["id"]) == (
        "N",
        "free",
        client.ids["orgs"],
    )
    assert renamed["data"]["slug"] != "taken"


async def test_an_invalid_definition_is_kept_as_a_draft_and_never_published(client: Client) -> None:
    mine = client.keys["mine"]
    wrong = {"nodes": {"root": {"type": "webhook", "payload": {}, "children": ["gone"]}}}
    _, made = await client.call("POST", "/v1/workflows", mine, {"name": "n", "definition": wrong})
    status, answer = await client.call("POST", f"/v1/workflows/{made['data']['id']}/publish", mine)
    assert (status, answer["code"]) == (400, 400228)
    assert [problem["code"] for problem in answer["details"]] == ["missing_node"]
    status, answer = await client.call("POST", "/v1/workflows", mine, {"name": "n", "definition": {"nodes": []}})
    assert (status, answer["code"]) == (400, 400228)


async def test_an_older_version_number_is_a_conflict(client: Client) -> None:
    mine, path = client.keys["mine"], f"/v1/workflows/{client.ids['workflows']}"
    for method, way, body in (
        ("PUT", path, {"name": "x", "expectedCurrentVersion": 7}),
        ("POST", f"{path}/publish", {"expectedVersion": 7}),
        ("POST", f"{path}/rollback", {"targetVersion": 1, "expectedCurrentVersion": 7}),
    ):
        status, answer = await client.call(method, way, mine, body)
        assert (status, answer["code"]) == (409, 409000)


async def test_a_simulation_is_refused_rather_than_run_for_real(client: Client) -> None:
    path = f"/v1/workflows/{client.ids['workflows']}/run"
    for name in ("simulate", "dustTest"):
        status, answer = await client.call("POST", path, client.keys["mine"], {name: True})
        assert (status, answer["code"]) == (400, 400412)


async def test_run_ids_are_checked_and_used_once(client: Client) -> None:
    path, mine = f"/v1/workflows/{client.ids['workflows']}/run", client.keys["mine"]
    assert (await client.call("POST", path, mine, {"runId": "x"}))[1]["code"] == 400078
    assert (await client.call("POST", path, mine, {"runId": client.ids["runs"]}))[1]["code"] == 400079
    assert (await client.call("POST", path, client.keys["mine"], {"triggerNodeId": "nope"}))[1]["code"] == 400410


async def test_a_secret_answers_only_its_own_workflow(client: Client) -> None:
    mine = client.keys["mine"]
    _, other = await client.call("POST", "/v1/workflows", mine, {"name": "o", "definition": DEFINITION})
    _, live = await client.call("POST", f"/v1/workflows/{other['data']['id']}/publish", mine)
    secret = live["data"]["triggerSecret"]
    inbound = f"/v1/orgs/{client.ids['orgs']}/integrations/webhook?secret={secret}"
    body = {"runId": client.ids["runs"], "nodeId": "root"}
    assert (await client.call("POST", inbound, body=body))[0] == 404
    assert (await client.call("POST", f"/v1/runs/{client.ids['runs']}/nodes/root/resume?secret={secret}"))[0] == 404


async def test_two_triggers_that_listen_to_the_same_are_refused(client: Client) -> None:
    wallet = "0x" + "ab" * 20
    first = {"type": "eth-receive", "payload": {"chainId": 8453, "walletAddress": wallet}}
    second = {"type": "eth-receive", "payload": {"chainId": "8453", "address": wallet.upper().replace("0X", "0x")}}
    other = {"type": "eth-send", "payload": {"chainId": 8453, "walletAddress": wallet}}
    definition = {"nodes": {"a": first, "b": second, "c": other}, "triggerNodeIds": ["a", "b", "c"]}
    _, answer = await client.call(
        "POST", "/v1/workflows/validate", client.keys["mine"], {"name": "x", "definition": definition}
    )
    assert [(one["code"], one["nodeId"]) for one in answer["data"]["errors"]] == [("trigger_duplicate", "b")]
