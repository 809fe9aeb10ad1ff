"""A proxy between a process of ours and a server: passes bytes, until it is told to cut, to hold or to strike.

What the kernel cannot inject here (delay, half-open and one-way connections) is made by not passing bytes on. Bytes
that were held are passed on when the way is open again, as a network does that was only slow.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

#: Says whether this is the moment: `up` for bytes on their way to the server, and the bytes.
Moment = Callable[[bool, bytes], bool]


class Proxy:
    """One listening address and one server behind it; its methods may be called from any thread."""

    def __init__(self, listen: Path | int, server: Path | int) -> None:
        self._listen = listen
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._open = {True: asyncio.Event(), False: asyncio.Event()}
        self._is_cut = False
        #: Whether a test ever did something to it.
        self.was_touched = False
        #: Reads of what comes from the client: round trips, of one that awaits each answer.
        self.trips = 0
        self._strike: tuple[Moment, Callable[[], None], bool] | None = None
        for way in self._open.values():
            way.set()

    async def start(self) -> None:
        """Listen."""
        if isinstance(self._listen, Path):
            self._listening = await asyncio.start_unix_server(self._serve, self._listen)
        else:
            self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self._listen)

    async def stop(self) -> None:
        """Close everything."""
        self._listening.close()
        for writer in self._writers:
            writer.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Close every connection, and each new one at once."""
        self._is_cut = self.was_touched = True
        self._loop.call_soon_threadsafe(self._close_all)

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        """Pass nothing on in these directions, and close nothing: a black hole."""
        self.was_touched = True
        for way, wanted in ((True, up), (False, down)):
            if wanted:
                self._loop.call_soon_threadsafe(self._open[way].clear)

    def heal(self) -> None:
        """Pass everything on again."""
        self._is_cut = False
        for way in self._open.values():
            self._loop.call_soon_threadsafe(way.set)

    def strike(self, moment: Moment, act: Callable[[], None], *, passes: bool = False) -> None:
        """At the first bytes for which `moment` is true, call `act`; before they are passed on, or just after."""
        self.was_touched = True
        self._strike = (moment, act, passes)

    def _close_all(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        try:
            if isinstance(self._server, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._server)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        for source, target, up in ((reader, far_writer, True), (far_reader, writer, False)):
            pump = asyncio.ensure_future(self._pump(source, target, up))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                self.trips += up
                await self._open[up].wait()
                struck = self._strike if self._strike and self._strike[0](up, data) else None
                if struck:
                    self._strike = None
                if struck and not struck[2]:
                    struck[1]()
                    break
                target.write(data)
                await target.drain()
                if struck:
                    struck[1]()
        target.close()
        self._writers.discard(target)
