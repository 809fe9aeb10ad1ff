"""What `python -m bench.profile` can look at: an installation, and a load that keeps one of its processes busy.

A load runs in the process of the profiler's command, never in the one that is profiled, and goes on until cancelled.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import msgspec

from b3os.embedded.supervisor import free_port
from bench import chains, million
from bench.chain import Feed
from bench.engine import FOUR
from bench.load import Answer, Load, check, exchange, fire, request, webhook
from bench.running import Running, up_in

CONNECTIONS = 32
#: Requests after which the connections are opened anew.
ROUND = 2000
#: Triggers published anew in one transaction, and how often: the figures of the gate of the 100 ms loop.
CHANGES, CHANGE_S = 1000, 0.1
#: Runs that are followed at once, and how many follow each.
FOLLOWED, READERS = 8, 50

ONE: dict[str, Any] = {
    "root": {"type": "webhook", "payload": {}, "children": ["only"]},
    "only": {"type": "log", "payload": {"message": "{{$trigger.body.n}}"}, "children": []},
}
#: A hundred nodes in a loop: two events each.
LONG: dict[str, Any] = {
    "root": {"type": "webhook", "payload": {}, "children": ["each"]},
    "each": {"type": "for-each", "payload": {"array": list(range(100))}, "loopBody": ["leaf"], "children": []},
    "leaf": {"type": "convert-to-wei", "payload": {"value": "1.5"}, "children": []},
}

Loaded = tuple[Running, Callable[[], Awaitable[None]]]


class Scenario(msgspec.Struct, frozen=True):
    """`open` takes the number of triggers, which only the scenarios of the master heed."""

    process: str
    about: str
    open: Callable[[int], AbstractContextManager[Loaded]]


async def _webhooks(up: Running, secret: str) -> None:
    while True:
        await fire(Load(port=up.port, path=webhook(secret), count=ROUND, connections=CONNECTIONS))


@contextmanager
def webhooks(nodes: dict[str, Any], _size: int) -> Iterator[Loaded]:
    """Webhooks that start runs of some nodes, as fast as they are answered."""
    with tempfile.TemporaryDirectory(prefix="b3f") as folder, up_in(folder) as up:
        yield up, partial(_webhooks, up, up.publish(nodes))


@contextmanager
def master_tick(size: int) -> Iterator[Loaded]:
    """Blocks full of logs, and triggers that change, for a master that holds many; its runs stay in the queue."""
    with tempfile.TemporaryDirectory(prefix="b3f") as folder:
        with up_in(folder) as first:
            asyncio.run(million.fill(first.database_url, size))
        feed = Feed(free_port(), size)
        with up_in(folder, "--workers", "0", B3OS_CHAINS=feed.chains) as up:
            yield up, partial(_ticks, feed, up, size)


async def _ticks(feed: Feed, up: Running, size: int) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(feed.serve())
        group.create_task(_changes(up, size))


async def _changes(up: Running, size: int) -> None:
    number = 0
    async with up.database() as db:
        while True:
            number += 1
            wait = asyncio.create_task(asyncio.sleep(CHANGE_S))
            await million.publish_anew(db, number, min(CHANGES, size), size)
            await wait


@contextmanager
def master_chains(size: int) -> Iterator[Loaded]:
    """The chains of the gate, which their own thread serves."""
    with chains.installed(chains.busy(size), size) as up:
        yield up, _nothing


async def _nothing() -> None:
    await asyncio.Event().wait()


@contextmanager
def sse_fanout(_size: int) -> Iterator[Loaded]:
    """Many streams of each of some runs; when a run has ended, the next begins."""
    with tempfile.TemporaryDirectory(prefix="b3f") as folder, up_in(folder) as up:
        yield up, partial(_streams, up, up.publish(LONG))


async def _streams(up: Running, secret: str) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(FOLLOWED):
            group.create_task(_followed_runs(up, secret))


async def _followed_runs(up: Running, secret: str) -> None:
    wanted = request(Load(port=up.port, path=webhook(secret), count=1), 0)
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
        run_id = msgspec.json.decode(await exchange(reader, writer, wanted), type=Answer).data.run_id
        writer.close()
        await asyncio.gather(*[_stream(up, run_id) for _ in range(READERS)])


async def _stream(up: Running, run_id: str) -> None:
    """Read a run's stream to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
    writer.write(
        f"GET /v1/runs/{run_id}/stream HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n"
        f"authorization: Bearer {up.key}\r\n\r\n".encode()
    )
    check(await reader.readuntil(b"\r\n\r\n"))
    while await reader.read(65536):
        pass
    writer.close()


SCENARIOS = {
    "master-tick": Scenario("master", "the 100 ms loop: changed triggers and logs of a busy chain", master_tick),
    "master-chains": Scenario("master", "twelve chains with a thousand logs a second each", master_chains),
    "webhook-burst": Scenario("api", "webhooks as fast as they are accepted", partial(webhooks, ONE)),
    "worker-run": Scenario("worker", "runs of four nodes, as fast as they are accepted", partial(webhooks, FOUR)),
    "sse-fanout": Scenario("api", f"{FOLLOWED * READERS} streams of {FOLLOWED} runs", sse_fanout),
}
