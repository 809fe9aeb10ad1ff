"""Starts the worker of a Python queue and sends it tasks: a line of JSON asks for a round and is answered by one."""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import queue_apps
import redis
from queue_apps import DONE, QUEUE, URL

BIN = Path(sys.executable).parent
ABREAST = 50
PR_SET_PDEATHSIG = 1
COMMANDS = {
    "arq": ["arq", "queue_apps.WorkerSettings", "--custom-log-dict", "queue_apps.QUIET"],
    "taskiq": ["taskiq", "worker", "queue_apps:broker", "--workers", "1", "--max-async-tasks", "100"],
    "celery": ["celery", "-A", "queue_apps", "worker", "-P", "solo", "--without-gossip", "--without-mingle"],
    "dramatiq": ["dramatiq", "queue_apps", "-p", "1", "-t", "8"],
}  # fmt: skip
#: What a worker would say of each task.
QUIET = {"taskiq": ["--log-level", "ERROR"], "celery": ["-l", "ERROR"]}

Send = Callable[[int], Any]


async def sender() -> tuple[Send, bool]:
    """Return how one task is sent, and whether that is awaited."""
    if QUEUE == "arq":
        from arq import create_pool

        pool = await create_pool(queue_apps.WorkerSettings.redis_settings)
        return lambda total: pool.enqueue_job("noop", total), True
    if QUEUE.startswith("taskiq"):
        await queue_apps.broker.startup()
        return queue_apps.task.kiq, True
    return (queue_apps.task.delay if QUEUE == "celery" else queue_apps.task.send), False


async def send_all(send: Send, total: int, *, is_awaited: bool) -> None:
    """Send a round: fifty at a time where sending is awaited, else one after the other."""
    if not is_awaited:
        for _ in range(total):
            send(total)
        return
    numbers = iter(range(total))

    async def lane(send: Callable[[int], Awaitable[Any]]) -> None:
        for _ in numbers:
            await send(total)

    await asyncio.gather(*[lane(send) for _ in range(ABREAST)])


async def rounds(results: Any) -> None:
    """Answer each line."""
    send, is_awaited = await sender()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        total = json.loads(line)["total"]
        began = time.perf_counter()
        await send_all(send, total, is_awaited=is_awaited)
        await asyncio.to_thread(results.blpop, [DONE])
        print(json.dumps(time.perf_counter() - began), flush=True)


def end_with_parent() -> None:
    """Let the kernel end the worker when this process dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> None:
    """Start the worker, which is in our process group, and send until the input ends."""
    command = COMMANDS[QUEUE.partition("-")[0]]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    worker = subprocess.Popen(
        [BIN / command[0], *command[1:], *QUIET.get(command[0], [])],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env=environ,
        preexec_fn=end_with_parent,
    )
    try:
        asyncio.run(rounds(redis.Redis.from_url(URL, socket_timeout=None)))
    finally:
        worker.terminate()
        worker.wait()


if __name__ == "__main__":
    main()
