"""The load generator, a process of its own: `python -m bench.load` with the JSON of `Load` as its one argument.

It posts to one address over connections that stay open, and prints the JSON of `Fired`. Requests are bytes made
beforehand, answers are decoded only where a run is followed, and the collector is off, so that what it costs is not
taken for the engine's.
"""

import asyncio
import gc
import socket
import subprocess
import sys
import time
from typing import Any

import msgspec
import redis
import uvloop

from b3os.stream.events import TERMINAL, RunEvent
from b3os.stream.publish import stream_key


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to fire. `rate` a second, 0: as fast as answers come.

    Each run is followed to its end, one after the other on the Redis `ops`, or on all connections by the activity
    stream of the organization of `key`.
    """

    port: int
    path: str
    count: int
    connections: int = 1
    rate: float = 0.0
    ops: str = ""
    key: str = ""


class Fired(msgspec.Struct, frozen=True):
    """Seconds from the first request to the last answer, and of each request: to its answer, or to its run's end.

    `began_at` is the time of the first request.
    """

    took_s: float
    each_s: list[float]
    began_at: float


class RunId(msgspec.Struct, rename="camel"):
    """What of an answer is read."""

    run_id: str


class Told(msgspec.Struct, rename="camel"):
    """What of an event is read."""

    type: str
    run_id: str


class Answer(msgspec.Struct):
    """The answer of a webhook."""

    data: RunId


def webhook(secret: str) -> str:
    """Return the path of a workflow's webhook."""
    return f"/v1/webhooks/{secret}"


def send(load: Load) -> Fired:
    """Carry out a load in a process of its own."""
    command = [sys.executable, "-m", "bench.load", msgspec.json.encode(load).decode()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return msgspec.json.decode(done.stdout, type=Fired)


def request(load: Load, number: int) -> bytes:
    """Make one request; its body has its number."""
    body = b'{"n":%d}' % number
    head = f"POST {load.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%s" % (len(body), body)


def check(head: bytes) -> None:
    """Raise when an answer is a refusal: a load that is refused measures nothing."""
    if not head.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(f"the API answered {head[:80]!r}")


def length_of(head: bytes) -> int:
    """Return an answer's length."""
    check(head)
    return next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: bytes) -> bytes:
    """Send a request and return its answer's body."""
    writer.write(wanted)
    return await reader.readexactly(length_of(await reader.readuntil(b"\r\n\r\n")))


class Ends:
    """The ends of runs, as the activity stream tells them: a run may have ended before its request is answered."""

    def __init__(self) -> None:
        self._ended: dict[str, asyncio.Future[None]] = {}

    async def hear(self, load: Load, group: asyncio.TaskGroup) -> "asyncio.Task[None]":
        """Begin to listen; returns once nothing can be missed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        head = f"GET /v1/activity/stream HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {load.key}\r\n\r\n"
        writer.write(head.encode())
        check(await reader.readuntil(b": watching\n\n"))
        return group.create_task(self._listen(reader, writer))

    async def of(self, body: bytes) -> None:
        """Wait for the end of the run that an answer names."""
        await self._future(msgspec.json.decode(body, type=Answer).data.run_id)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A frame is never split: the lines between frames are those of the chunked encoding.
        try:
            while line := await reader.readline():
                if line.startswith(b"data: "):
                    event = msgspec.json.decode(line[6:], type=Told)
                    if event.type in TERMINAL:
                        self._future(event.run_id).set_result(None)
        finally:
            writer.close()
        raise RuntimeError("the activity stream ended before the runs did")

    def _future(self, run_id: str) -> "asyncio.Future[None]":
        return self._ended.setdefault(run_id, asyncio.get_running_loop().create_future())


async def fire(load: Load) -> Fired:
    """Fire from all connections; with a rate each request has its own moment, whoever sends it."""
    loop = asyncio.get_running_loop()
    ends = Ends() if load.key else None
    todo = [request(load, number) for number in reversed(range(load.count))]
    pace = 1 / load.rate if load.rate else 0.0
    each: list[float] = []
    began = 0.0

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        while todo:
            due = began + (load.count - len(todo)) * pace
            wanted = todo.pop()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            sent = loop.time()
            answer = await exchange(reader, writer, wanted)
            if ends:
                await ends.of(answer)
            each.append(loop.time() - sent)
        writer.close()

    async with asyncio.TaskGroup() as group:
        listening = await ends.hear(load, group) if ends else None
        began_at, began = time.time(), loop.time()
        await asyncio.gather(*[connection() for _ in range(load.connections)])
        fired = Fired(loop.time() - began, each, began_at)
        if listening:
            listening.cancel()
    return fired


def follow(load: Load) -> Fired:
    """Fire one after the other; each counts until the event that is told once the end of its run is stored."""
    ops: Any = redis.Redis(unix_socket_path=load.ops)
    each: list[float] = []
    began_at, began = time.time(), time.perf_counter()
    with socket.create_connection(("127.0.0.1", load.port)) as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(load.count):
            wanted = request(load, number)
            sent = time.perf_counter()
            connection.sendall(wanted)
            head = b"".join(iter(answers.readline, b"\r\n"))
            run_id = msgspec.json.decode(answers.read(length_of(head)), type=Answer).data.run_id
            await_end(ops, run_id)
            each.append(time.perf_counter() - sent)
    return Fired(time.perf_counter() - began, each, began_at)


def await_end(ops: Any, run_id: str) -> None:
    """Read a run's events until its last."""
    key, last = stream_key(run_id), "0"
    while True:
        for _, entries in ops.xread({key: last}, block=10_000):
            last = entries[-1][0]
            if msgspec.msgpack.decode(entries[-1][1][b"e"], type=RunEvent).type in TERMINAL:
                return


def main() -> None:
    """Carry out the load of the command line."""
    load = msgspec.json.decode(sys.argv[1], type=Load)
    gc.disable()
    fired = follow(load) if load.ops else uvloop.run(fire(load))
    sys.stdout.write(msgspec.json.encode(fired).decode())


if __name__ == "__main__":
    main()
