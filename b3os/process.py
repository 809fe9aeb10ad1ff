"""What every process of B3OS has in common: its event loop, stop signal, ready line and HTTP server.

An entry point reads: load settings, set up logs, `run(main)`; `main` gets the event that SIGTERM or SIGINT
sets, calls `tell_ready` once it can do its work, and returns soon after the event is set.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from b3os.errors import B3osError

#: New objects between two looks of the collector; a run makes thousands, and nearly all end by themselves.
YOUNG_OBJECTS = 20_000
#: Connections waiting to be accepted.
BACKLOG = 2048
#: Open requests, streams included: a stream counts for as long as it lives.
BACKPRESSURE = 20_000
#: Streams get this long to send their last event after the stop signal.
DRAIN_S = 0.05
#: Requests still running this long after the stop signal, and after what `drain` waits for, are cut.
STOP_TIMEOUT_S = 5.0


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `main(stop)` under uvloop until it returns; SIGTERM and SIGINT set `stop`.

    An error of ours, such as a server that is down or a setting that is wrong, is one clear line and exit code 1.
    """

    async def started() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    # The modules live as long as the process: the collector need not walk through them again and again.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        uvloop.run(started())
    except B3osError as error:
        print(f"b3os: {error.message}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def tell_ready(fd: int) -> None:
    """Write the ready line to the supervisor's pipe and close it; -1 means that nobody listens."""
    if fd < 0:
        return
    try:
        os.write(fd, b"ready\n")
    finally:
        os.close(fd)


async def serve_asgi(
    app: Any,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    on_ready: Callable[[], None] | None = None,
    drain: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve an ASGI app (no lifespan) until `stop` is set; `on_ready` is called once the port accepts.

    Then nothing new is accepted, idle connections are closed and answers say `connection: close`. `drain` is called
    when that has begun; when it returns, every request has been answered or soon will be.
    """
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        backlog=BACKLOG,
        backpressure=BACKPRESSURE,
        log_enabled=False,
    )
    serving = asyncio.ensure_future(server.serve())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await _until_accepting(host, port, serving)
        if on_ready is not None:
            on_ready()
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not serving.done():
            await asyncio.sleep(DRAIN_S)
            server.stop()  # type: ignore[no-untyped-call]  # granian leaves it unannotated
            if drain is not None:
                await drain()
            await asyncio.wait({serving}, timeout=STOP_TIMEOUT_S)
            serving.cancel()
    if serving.done() and not serving.cancelled():
        serving.result()


async def _until_accepting(host: str, port: int, serving: asyncio.Future[Any]) -> None:
    """Return once the port takes a connection; raises what the server raised if it could not start."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return
    serving.result()
