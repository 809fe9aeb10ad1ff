"""Real servers once per session; a fresh migrated database and an empty Valkey per test."""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from hypothesis import HealthCheck, settings

from b3os.embedded.servers import EmbeddedServers, Urls
from b3os.embedded.supervisor import free_port
from b3os.store.migrate import migrate
from demo import chain as demo
from tests.examples import WANTED, examples

RECURSION_LIMIT = 1000

# The machines are shared and noisy: how long an example takes says nothing.
settings.register_profile(
    "b3os",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not WANTED,
    max_examples=examples(100),
)
settings.load_profile("b3os")

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def recursion_limit() -> None:
    """Keep Python's own limit: a dependency of web3 raises it so far that deep JSON overflows the C stack."""
    sys.setrecursionlimit(RECURSION_LIMIT)


@pytest.fixture(scope="session")
def servers() -> Iterator[Urls]:
    with tempfile.TemporaryDirectory(prefix="b3t") as folder:
        running = EmbeddedServers(Path(folder), fsync=False)
        try:
            yield running.start()
        finally:
            running.stop()


def database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def template(servers: Urls) -> str:
    async def make() -> None:
        db = await asyncpg.connect(servers.database_url)
        await db.execute("create database b3os_template")
        await db.close()
        await migrate(database(servers.database_url, "b3os_template"))

    asyncio.run(make())
    return "b3os_template"


@pytest.fixture
async def empty_pg_url(servers: Urls) -> AsyncIterator[str]:
    """An empty database, for tests of migrations."""
    name = f"b3os_e{next(_numbers)}"
    db = await asyncpg.connect(servers.database_url)
    await db.execute(f"create database {name}")
    yield database(servers.database_url, name)
    await db.execute(f"drop database {name} with (force)")
    await db.close()


@pytest.fixture
async def pg_url(servers: Urls, template: str) -> AsyncIterator[str]:
    """A migrated database of the test's own."""
    name = f"b3os_t{next(_numbers)}"
    db = await asyncpg.connect(servers.database_url)
    await db.execute(f"create database {name} template {template}")
    yield database(servers.database_url, name)
    await db.execute(f"drop database {name} with (force)")
    await db.close()


async def _flushed(url: str) -> str:
    client = redis.asyncio.Redis.from_url(url)
    await client.flushall()
    await client.aclose()
    return url


@pytest.fixture
async def redis_url(servers: Urls) -> str:
    return await _flushed(servers.redis_ops_url)


@pytest.fixture(scope="session")
def anvil() -> Iterator[str]:
    """A real Anvil; tests deploy what they need."""
    port = free_port()
    process = demo.start(port)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()
