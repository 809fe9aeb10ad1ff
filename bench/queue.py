"""The queue: enqueue and process no-op tasks in one worker process, over bare Redis round trips of one client."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import redis.asyncio
import uvloop

from b3os.embedded.servers import EmbeddedServers
from b3os.queue.broker import Broker, Task
from b3os.run.queued import TYPE, RunTask, payload_of
from bench.report import Gate, medians, remark

TASKS = 4000
TRIPS = 1000
#: Tasks in one call, as a source that catches up enqueues them, and as a worker takes them.
BATCH = 64


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A Valkey of its own."""
    with tempfile.TemporaryDirectory(prefix="b3q") as folder:
        running = EmbeddedServers(Path(folder), fsync=False)
        try:
            yield running.start().redis_ops_url
        finally:
            running.stop()


async def process(url: str) -> None:
    """Enqueue and process tasks, producer and worker in one process."""
    broker = Broker(url)
    payload = payload_of(RunTask("org_bench", "run_bench", "wf_bench", 1, "root", "webhook", 1, {"n": 1}))
    tasks = [Task(f"run_{n}", TYPE, payload, "default") for n in range(TASKS)]

    async def work() -> None:
        left = TASKS
        while left:
            taken = await broker.dequeue(BATCH)
            if taken:
                left -= await broker.done(taken)
            else:
                await broker.wait(1.0)

    async def produce() -> None:
        for first in range(0, TASKS, BATCH):
            await broker.enqueue(tasks[first : first + BATCH])

    await asyncio.gather(work(), produce())
    await broker.close()


async def trips(url: str) -> None:
    """Bare round trips: the least that a queue without batches pays for each of its calls."""
    client: Any = redis.asyncio.Redis.from_url(url)
    for _ in range(TRIPS):
        await client.ping()
    await client.aclose()


def against_round_trips() -> float:
    """Tasks enqueued and processed in the time of one bare round trip."""
    with server() as url:
        ours, bare = medians(5, partial(run, process, url), partial(run, trips, url))
    remark(f"{TASKS / ours:,.0f} tasks/s enqueued and processed, {TRIPS / bare:,.0f} bare round trips/s")
    return (TASKS / ours) / (TRIPS / bare)


def run(act: Any, url: str) -> None:
    """Run one act on a fresh loop."""
    uvloop.run(act(url))


def latency() -> float:
    """Milliseconds from enqueueing one task to a waiting worker holding it, the median."""
    times: list[float] = []

    async def once(url: str) -> None:
        broker, worker = Broker(url), Broker(url)
        for n in range(200):
            waiting = asyncio.ensure_future(worker.wait(5.0))
            await asyncio.sleep(0.001)
            began = time.perf_counter()
            await broker.enqueue([Task(f"run_{n}", TYPE, b"{}", "critical")])
            await waiting
            taken = await worker.dequeue(BATCH)
            times.append(time.perf_counter() - began)
            await worker.done(taken)
        await broker.close()
        await worker.close()

    with server() as url:
        uvloop.run(once(url))
    return sorted(times)[len(times) // 2] * 1000


GATES = (
    Gate(
        name="queue, tasks in a bare round trip", bar=1.5, at_least=True, measure=against_round_trips, is_quick=True,
        reason="the queue, and not the runs, would set how fast a worker is",
    ),
    Gate(
        name="queue, one task to a waiting worker", unit="ms", bar=5, measure=latency,
        reason="a webhook's first node starts late",
    ),
)  # fmt: skip
