"""An actions process that answers as it is told: the execute protocol of docs/execute.md over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Actions:
    """`script` has the answers of a node, in order, the last one for ever; a node in `held` answers when released."""

    def __init__(self) -> None:
        self.url = ""
        self.script: dict[str, list[dict[str, Any]]] = {}
        self.held: dict[str, asyncio.Event] = {}
        #: Node, input and idempotency key of every call, in order.
        self.seen: list[tuple[str, Any, str]] = []
        self.arrived = asyncio.Condition()

    def fails(self, node_id: str, *, retryable: bool = False, times: int = 1) -> None:
        """Let a node fail so often, and succeed then."""
        error = {"code": "API_ERROR", "message": "down", "category": "service", "retryable": retryable}
        self.script[node_id] = [{"success": False, "error": error}] * times + [{"success": True, "data": {"ok": True}}]

    def hold(self, node_id: str) -> asyncio.Event:
        """Keep a node's calls open until the event is set."""
        return self.held.setdefault(node_id, asyncio.Event())

    def called(self, node_id: str) -> int:
        """Count a node's calls."""
        return sum(name == node_id for name, _, _ in self.seen)

    async def until_called(self, node_id: str, times: int = 1, limit_s: float = 20) -> None:
        """Wait for the call of a node."""
        async with asyncio.timeout(limit_s), self.arrived:
            await self.arrived.wait_for(lambda: self.called(node_id) >= times)

    async def execute(self, request: web.Request) -> web.Response:
        """POST /execute"""
        call = await request.json()
        node_id = call["nodeId"]
        async with self.arrived:
            self.seen.append((node_id, call["inputs"], call["idempotencyKey"]))
            self.arrived.notify_all()
        if node_id in self.held:
            await self.held[node_id].wait()
        answers = self.script.get(node_id, [{"success": True, "data": {"ok": True}}])
        return web.json_response(answers.pop(0) if len(answers) > 1 else answers[0])


@asynccontextmanager
async def actions() -> AsyncIterator[Actions]:
    """Serve on a free port of loopback."""
    found = Actions()
    app = web.Application()
    app.router.add_post("/execute", found.execute)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        for event in found.held.values():
            event.set()
        await runner.cleanup()
