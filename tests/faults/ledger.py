"""The ledger of effects: a small HTTP server that actions call, and a file to which it only ever appends.

One line a call: when it came, the idempotency key (it names run, node and iteration), and the path. Whether an effect
happened at most or at least once is judged from this file, whatever the engine believes.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path

import msgspec
from aiohttp import web


class Entry(msgspec.Struct, frozen=True):
    """One call."""

    at_ms: int
    key: str
    path: str


class Ledger:
    """The server; `/held/...` is answered after `release`, `/big` by a large body, anything else at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._released = asyncio.Event()
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.url = f"http://127.0.0.1:{port}"

    def begin_anew(self) -> None:
        """Forget what was called, and hold again; for the next test."""
        self._file.unlink(missing_ok=True)
        self._loop.call_soon_threadsafe(self._released.clear)

    async def stop(self) -> None:
        """Close."""
        self._released.set()
        await self._runner.cleanup()

    def release(self) -> None:
        """Answer what is held, and what comes later."""
        self._loop.call_soon_threadsafe(self._released.set)

    def entries(self, path: str = "") -> list[Entry]:
        """What was called, oldest first; only of one path, if it is given."""
        if not self._file.exists():
            return []
        lines = self._file.read_bytes().split(b"\n")[:-1]
        found = [msgspec.json.decode(line, type=Entry) for line in lines]
        return [entry for entry in found if entry.path.startswith(path)]

    def calls(self, path: str = "") -> Counter[str]:
        """How often each effect was called, by idempotency key."""
        return Counter(entry.key for entry in self.entries(path))

    async def _answer(self, request: web.Request) -> web.Response:
        entry = Entry(time.time_ns() // 1_000_000, request.headers.get("idempotency-key", ""), request.path)
        with self._file.open("ab") as file:
            file.write(msgspec.json.encode(entry) + b"\n")
        if request.path.startswith("/held"):
            await self._released.wait()
        if request.path == "/big":
            kind, size = request.query["kind"], int(request.query["size"])
            if kind == "array":
                return web.json_response(list(range(size)))
            return web.Response(body=b"x" * size, status=500 if kind == "error" else 200)
        return web.json_response({"done": True})
