"""Our queue the same way: the producer is this process, the worker a child; a line of JSON asks for a round."""

import asyncio
import itertools
import json
import subprocess
import sys
import time

import redis
import uvloop

from b3os.embedded.nursery import end_with_parent
from b3os.queue.broker import Broker, Task

#: Tasks in one call, as a source that catches up enqueues them, and as a worker takes them.
BATCH = 64
ABREAST = 50
DONE = "bench:done"

_ids = itertools.count()


async def noop(task: Task) -> int:
    """Do nothing; returns the size of the round."""
    return int(task.payload)


async def work(url: str) -> None:
    """Work until killed; the last task of a round is told."""
    broker, results = Broker(url), redis.Redis.from_url(url, socket_timeout=None)
    done = 0
    while True:
        taken = await broker.dequeue(BATCH)
        if not taken:
            await broker.wait(1.0)
            continue
        total = (await asyncio.gather(*map(noop, taken)))[0]
        done += await broker.done(taken)
        if done == total:
            done = 0
            results.rpush(DONE, total)


async def send_all(broker: Broker, total: int, way: str) -> None:
    """Send a round: in batches, or fifty single ones at a time."""
    payload = b"%d" % total
    tasks = [Task(f"task_{next(_ids)}", "noop", payload, "default") for _ in range(total)]
    if way == "batches":
        for first in range(0, total, BATCH):
            await broker.enqueue(tasks[first : first + BATCH])
        return
    left = iter(tasks)

    async def lane() -> None:
        for task in left:
            await broker.enqueue([task])

    await asyncio.gather(*[lane() for _ in range(ABREAST)])


async def produce(url: str) -> None:
    """Answer each line."""
    broker, results = Broker(url), redis.Redis.from_url(url, socket_timeout=None)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        began = time.perf_counter()
        await send_all(broker, asked["total"], asked["way"])
        await asyncio.to_thread(results.blpop, [DONE])
        print(json.dumps(time.perf_counter() - began), flush=True)


def main() -> None:
    """Start the worker, and send until the input ends."""
    url = sys.argv[1]
    if sys.argv[2:] == ["worker"]:
        uvloop.run(work(url))
        return
    command = [sys.executable, "-m", "bench.peers.programs.our_queue", url, "worker"]
    worker = subprocess.Popen(command, preexec_fn=end_with_parent)
    try:
        uvloop.run(produce(url))
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
