"""What every emulator is served by: an HTTP application of its own on loopback."""

from collections.abc import Iterable

from aiohttp import web

#: Calls under way get this long when an emulator stops.
LEAVE_S = 0.1


class Served:
    """An emulator while it serves."""

    _runner: web.AppRunner | None = None

    async def listen(self, port: int, routes: Iterable[web.RouteDef]) -> str:
        """Serve routes on a port, 0 for a free one; returns host and port."""
        app = web.Application()
        app.add_routes(routes)
        self._runner = web.AppRunner(app, shutdown_timeout=LEAVE_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop serving."""
        assert self._runner is not None, "start() comes first"
        await self._runner.cleanup()
