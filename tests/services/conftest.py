"""An API in the test's own loop, over real servers, with two organizations and something of everything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from b3os.settings import Settings
from b3os.store.pool import open_pool
from services.api.app import Api
from services.api.house import House
from tests.emulators.node import Node
from tests.services.client import Client

MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.fixture
def api_settings(pg_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=pg_url, redis_ops_url=redis_url, redis_data_url=redis_url, master_key=MASTER_KEY,
        data_dir=str(tmp_path),
    )  # fmt: skip


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """An EVM node of chain 31337."""
    found = await Node().start()
    yield found
    await found.stop()


@pytest.fixture
async def house(api_settings: Settings) -> AsyncIterator[House]:
    found = House(await open_pool(api_settings.database_url, max_size=4), api_settings, asyncio.Event())
    yield found
    await found.close()


@pytest.fixture
async def client(house: House) -> Client:
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
    hook = {"name": "h", "url": "https://example.com/h"}
    _, registered = await found.call("POST", "/v1/execution-webhooks", mine, hook)
    found.ids["execution-webhooks"] = registered["data"]["endpoint"]["id"]
    # Nobody's test is to send it anything.
    await found.call("POST", f"/v1/execution-webhooks/{found.ids['execution-webhooks']}/disable", mine)
    found.ids["organizations"] = found.ids["orgs"] = (await found.call("GET", "/v1/whoami", mine))[1]["data"][
        "organizationId"
    ]
    return found
