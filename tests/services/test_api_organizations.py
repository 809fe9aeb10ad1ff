"""Organizations, members and keys over REST; how often an organization may call; what lists show."""

import asyncio

import msgspec
import pytest

from b3os.errors import TooMany
from b3os.settings import Settings
from b3os.store import leases, source_states
from b3os.store.pool import open_pool
from services.api.app import Api
from services.api.house import House
from services.api.limits import RateLimit
from tests.services.client import Client


async def test_the_bootstrapped_organization_has_one_owner(client: Client) -> None:
    mine, org = client.keys["mine"], client.ids["orgs"]
    _, listed = await client.call("GET", "/v1/organizations", mine)
    _, read = await client.call("GET", f"/v1/organizations/{org}", mine)
    assert listed["data"]["items"] == [read["data"]]
    _, members = await client.call("GET", f"/v1/orgs/{org}/members", mine)
    assert [member["role"] for member in members["data"]["items"]] == ["owner"]
    _, empty = await client.call("GET", f"/v1/orgs/{org}/members?offset=1", mine)
    assert empty["data"]["items"] == []


async def test_an_organization_changes_what_is_given(client: Client) -> None:
    mine, path = client.keys["mine"], f"/v1/organizations/{client.ids['orgs']}"
    await client.call("PUT", path, mine, {"name": "Ours", "description": "d"})
    _, answer = await client.call("PUT", path, mine, {"photo": "https://example.com/p.png"})
    shown = {name: answer["data"][name] for name in ("name", "description", "photo")}
    assert shown == {"name": "Ours", "description": "d", "photo": "https://example.com/p.png"}
    assert (await client.call("PUT", path, mine, {"name": " "}))[1]["code"] == 400410


async def test_a_key_is_shown_once_and_tells_its_last_use(client: Client) -> None:
    mine = client.keys["mine"]
    _, made = await client.call("POST", "/v1/api-keys", mine, {"name": "k", "description": "d", "scope": "read"})
    raw, path = made["data"]["key"], f"/v1/api-keys/{made['data']['id']}"
    assert raw.startswith(made["data"]["keyPrefix"])
    assert made["data"]["lastUsedAt"] is None
    _, read = await client.call("GET", path, raw)
    assert "key" not in read["data"]
    used = (read["data"]["lastUsedIp"], read["data"]["lastUsedUserAgent"], bool(read["data"]["lastUsedAt"]))
    assert used == ("127.0.0.1", "test", True)
    _, listed = await client.call("GET", "/v1/api-keys", mine)
    assert raw not in msgspec.json.encode(listed).decode()


async def test_a_revoked_key_is_refused_and_stays_listed(client: Client) -> None:
    mine = client.keys["mine"]
    _, made = await client.call("POST", "/v1/api-keys", mine, {"name": "k"})
    assert made["data"]["scope"] == "read-write"
    assert (await client.call("DELETE", f"/v1/api-keys/{made['data']['id']}", mine))[0] == 200
    assert (await client.call("GET", "/v1/whoami", made["data"]["key"]))[0] == 401
    _, listed = await client.call("GET", "/v1/api-keys", mine)
    assert [key["revokedAt"] is not None for key in listed["data"]["items"] if key["id"] == made["data"]["id"]] == [
        True
    ]


async def test_a_key_is_valid_until_it_expires(client: Client, house: House) -> None:
    mine = client.keys["mine"]
    assert (await client.call("POST", "/v1/api-keys", mine, {"name": "k", "expiresAt": "2001-01-01"}))[1][
        "code"
    ] == 400410
    body = {"name": "k", "expiresAt": "2999-12-31T23:59:59Z"}
    _, made = await client.call("POST", "/v1/api-keys", mine, body)
    assert made["data"]["expiresAt"] == "2999-12-31T23:59:59.000Z"
    assert (await client.call("GET", "/v1/whoami", made["data"]["key"]))[0] == 200
    await house.pool.execute("update api_keys set expires_at = now() where id = $1", made["data"]["id"])
    assert (await client.call("GET", "/v1/whoami", made["data"]["key"]))[0] == 401


def test_a_bucket_fills_with_time() -> None:
    limit = RateLimit(2)
    limit.take("a", 0.0)
    limit.take("a", 0.0)
    with pytest.raises(TooMany) as refused:
        limit.take("a", 0.1)
    assert refused.value.retry_after_s == pytest.approx(0.4)
    limit.take("b", 0.1)
    limit.take("a", 0.5)
    with pytest.raises(TooMany):
        limit.take("a", 0.6)


async def test_an_organization_over_its_limit_is_told_when_to_come_back(client: Client, api_settings: Settings) -> None:
    settings = msgspec.structs.replace(api_settings, rate_limit=3)
    house = House(await open_pool(settings.database_url), settings, asyncio.Event())
    limited = Client(Api(house))
    for _ in range(50):
        status, answer = await limited.call("GET", "/v1/whoami", client.keys["mine"])
        if status != 200:
            break
    assert (status, answer["code"], limited.headers[b"retry-after"]) == (429, 429000, b"1")
    assert (await limited.call("GET", "/v1/whoami", client.keys["theirs"]))[0] == 200
    await house.close()


async def test_a_list_of_workflows_shows_what_is_asked_for(client: Client) -> None:
    mine = client.keys["mine"]
    definition = {"nodes": {"root": {"type": "manual", "payload": {}}}}
    await client.call("POST", "/v1/workflows", mine, {"name": "Another", "definition": definition})
    _, answer = await client.call("GET", "/v1/workflows?_fields_filter=id,name,nonsense&q=anoth", mine)
    assert [set(item) for item in answer["data"]["items"]] == [{"id", "name"}]
    assert answer["data"]["items"][0]["name"] == "Another"
    _, drafts = await client.call("GET", "/v1/workflows?status=draft&status=archived,paused&limit=300", mine)
    assert [item["name"] for item in drafts["data"]["items"]] == ["Another"]


async def test_a_source_is_seen_by_the_organization_whose_credential_it_reads_with(
    client: Client, house: House
) -> None:
    mine = client.ids["organizations"]
    told = [source_states.Told("cron"), source_states.Told(f"slack:{mine}:conn_1", error="no", org_id=mine)]
    for one in told:
        await leases.acquire(house.pool, one.source, "master_1", 60)
    await leases.renew(house.pool, "master_1", [one.source for one in told], 60, told)
    shown = {
        name: [one["id"] for one in (await client.call("GET", "/v1/sources", client.keys[name]))[1]["data"]["items"]]
        for name in ("mine", "reader", "theirs")
    }
    assert shown == {"mine": [told[0].source, told[1].source], "reader": ["cron", told[1].source], "theirs": ["cron"]}
