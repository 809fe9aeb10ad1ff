"""A receiver of webhooks over real HTTP: keeps what it got, and answers as it is told to, one answer per request."""

import asyncio
from collections import deque

import msgspec
from aiohttp import web

from tests.emulators.serving import Served


class Received(msgspec.Struct, frozen=True):
    """One request; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(Served):
    """Answers 200, or the next of `answers`: a status, "drop" (closes the connection), "large" or "silent" (never)."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[int | str] = deque()
        self._arrived = asyncio.Condition()
        self.host = ""

    async def start(self, port: int = 0) -> "Receiver":
        self.host = await self.listen(port, [web.route("*", "/{path:.*}", self._receive)])
        return self

    async def until(self, count: int, limit_s: float = 30.0) -> list[Received]:
        """Wait for so many requests."""
        async with asyncio.timeout(limit_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        async with self._arrived:
            self.received.append(Received(request.path, headers, body))
            self._arrived.notify_all()
        answer = self.answers.popleft() if self.answers else 200
        if answer == "drop":
            assert request.transport is not None
            request.transport.abort()
        if answer == "silent":
            await asyncio.Event().wait()
        if answer == "large":
            return web.Response(body=b"y" * 1_000_000)
        status = answer if isinstance(answer, int) else 200
        more = {"location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, text="thanks", headers={"x-receiver": "r", "set-cookie": "s=1", **more})
