"""The hint that a chain has a new block: it wakes the poller, and whatever the socket does costs nothing else."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from b3os.chain.chains import Chain, load_chains
from b3os.errors import BadInput
from b3os.store import leases
from b3os.store.pool import open_pool
from demo import chain as demo
from services.master.chain.heads import EAGER_S, Heads
from services.master.keeper import Keeper
from tests.emulators.heads import HeadServer

LONG_S = 60.0


@pytest.fixture
async def server() -> AsyncIterator[HeadServer]:
    found = await HeadServer().start()
    yield found
    await found.stop()


class Ear:
    """A chain's hints while they are listened to."""

    def __init__(self, *urls: str, block_time_ms: int = 1000) -> None:
        chain = Chain(id=1, name="x", rpc_urls=("http://127.0.0.1:1",), ws_urls=urls, block_time_ms=block_time_ms)
        self.heads = Heads(chain)
        self._task = asyncio.create_task(self.heads.listen())

    async def rest(self, head: int, limit_s: float = 10.0) -> float:
        """Rest for a long time; returns how long it was. Raises TimeoutError when nothing woke it."""
        began = time.monotonic()
        async with asyncio.timeout(limit_s):
            await self.heads.rest(LONG_S, head)
        return time.monotonic() - began

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_new_block_ends_the_rest_at_once(server: HeadServer) -> None:
    ear = Ear(server.url, block_time_ms=10)
    await server.until(1)
    resting = asyncio.create_task(ear.rest(7))
    await server.tell(8)
    assert await resting < LONG_S / 2
    assert ear.heads.is_open
    await ear.close()
    await server.until(0)


async def test_a_block_that_the_upstream_does_not_have_yet_is_looked_for_again_and_then_left(
    server: HeadServer,
) -> None:
    ear = Ear(server.url, block_time_ms=10)
    await server.until(1)
    await server.tell(8)
    await ear.rest(7)
    for _ in EAGER_S:
        await ear.rest(7)
    with pytest.raises(TimeoutError):
        await ear.rest(7, limit_s=0.2)
    await server.tell(9)
    await ear.rest(8)
    await ear.close()


async def test_a_block_that_is_read_already_wakes_nobody(server: HeadServer) -> None:
    ear = Ear(server.url, block_time_ms=10)
    await server.until(1)
    await server.tell(8)
    await ear.rest(7)
    with pytest.raises(TimeoutError):
        await ear.rest(8, limit_s=0.2)
    await ear.close()


async def test_a_flood_of_blocks_wakes_four_times_in_the_time_of_a_block(server: HeadServer) -> None:
    ear = Ear(server.url, block_time_ms=400)
    await server.until(1)
    began, looks = time.monotonic(), 0
    while time.monotonic() - began < 0.5:
        for number in range(20):
            await server.tell(1000 * looks + number + 1)
        await ear.rest(0)
        looks += 1
    assert looks <= 6
    await ear.close()


async def test_what_is_no_announcement_is_passed_over(server: HeadServer) -> None:
    ear = Ear(server.url, block_time_ms=10)
    await server.until(1)
    for message in (
        "",
        "{",
        "[]",
        "[" * 2000,
        {"params": {"result": {"number": "soon"}}},
        {"params": {"result": None}},
    ):
        await server.say(message)
    await server.tell(8)
    await ear.rest(7)
    assert server.opened == 1
    await ear.close()


async def test_a_cut_subscription_is_made_again(server: HeadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.master.chain.heads.BACKOFF_S", (0.01,))
    ear = Ear(server.url, block_time_ms=10)
    await server.until(1)
    await server.tell(2**60)
    await ear.rest(7)
    await server.drop()
    await server.until(1)
    await server.tell(8)
    await ear.rest(7)
    await ear.close()


async def test_a_node_without_subscriptions_is_left_alone(server: HeadServer) -> None:
    server.refuses = True
    ear = Ear(server.url)
    with pytest.raises(TimeoutError):
        await ear.rest(7, limit_s=0.3)
    assert server.opened == 1
    await ear.close()


async def test_an_address_without_subscriptions_silences_no_other_and_is_left_alone(
    server: HeadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.master.chain.heads.BACKOFF_S", (0.01,))
    refusing = await HeadServer().start()
    refusing.refuses = True
    ear = Ear(refusing.url, server.url, block_time_ms=10)
    for _ in range(3):
        await server.until(1)
        await server.drop()
        await server.until(0)
    await server.until(1)
    await server.tell(8)
    await ear.rest(7)
    assert refusing.opened == 1
    await ear.close()
    await refusing.stop()


async def test_an_address_that_does_not_answer_costs_no_time_and_the_next_one_is_tried(
    server: HeadServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.master.chain.heads.BACKOFF_S", (0.01,))
    caplog.set_level(logging.INFO, "b3os.master")
    dead = "ws://127.0.0.1:1/secret-key"
    ear = Ear(dead, server.url, block_time_ms=10)
    began = time.monotonic()
    await ear.heads.rest(0.01, 7)
    assert time.monotonic() - began < 1
    await server.until(1)
    await server.tell(8)
    await ear.rest(7)
    assert "no word of new blocks" in caplog.text
    assert "secret-key" not in str([record.__dict__ for record in caplog.records])
    await ear.close()


class Listener:
    """A source that polls once a minute, unless it hears something; it is its own family."""

    name = "listener"
    types: frozenset[str] = frozenset()

    def __init__(self, url: str) -> None:
        chain = Chain(id=1, name="x", rpc_urls=("http://127.0.0.1:1",), ws_urls=(url,), block_time_ms=10)
        self.heads = Heads(chain)
        self.polls = 0
        self.polled = asyncio.Event()
        self.forgotten = asyncio.Event()

    def wanted(self) -> tuple["Listener"]:
        return (self,)

    async def poll(self, _epoch: int) -> float:
        self.polls += 1
        self.polled.set()
        return LONG_S

    async def listen(self) -> None:
        await self.heads.listen()

    async def rest(self, pause_s: float) -> None:
        await self.heads.rest(pause_s, self.polls)

    async def forget(self) -> None:
        self.forgotten.set()


async def test_the_keeper_polls_when_a_source_hears_of_a_block_and_ends_its_subscription_with_its_lease(
    pg_url: str, server: HeadServer
) -> None:
    pool, source = await open_pool(pg_url), Listener(server.url)
    keeping = asyncio.create_task(Keeper(pool, "me", [source]).serve())  # type: ignore[list-item]
    async with asyncio.timeout(20):
        await server.until(1)
        for number in range(2, 5):
            source.polled.clear()
            await server.tell(number)
            await source.polled.wait()
        await pool.execute("update leases set until = '-infinity', owner = 'other', epoch = epoch + 1")
        assert await leases.acquire(pool, "listener", "other", 60)
        await source.forgotten.wait()
        await server.until(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await pool.close()


async def test_anvil_announces_the_blocks_that_it_mines(anvil: str) -> None:
    ear = Ear(anvil.replace("http", "ws"), block_time_ms=10)
    head = int(demo.call(anvil, "eth_blockNumber"), 16)

    async def mine() -> int:
        await asyncio.to_thread(demo.call, anvil, "anvil_mine", "0x1")
        return int(await asyncio.to_thread(demo.call, anvil, "eth_blockNumber"), 16)

    async with asyncio.timeout(20):
        while not ear.heads.is_open:
            head = await mine()
            await ear.heads.rest(0.1, head)
    resting = asyncio.create_task(ear.rest(head))
    assert await mine() > head
    await resting
    await ear.close()


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(BadInput, match="wsUrls"):
        load_chains('[{"id":31337,"name":"l","rpcUrls":["http://127.0.0.1:1"],"wsUrls":["http://127.0.0.1:1"]}]')
