"""A node's WebSocket that tells of new blocks: eth_subscribe newHeads as geth sends it, or what a test says."""

import asyncio
import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.emulators.serving import Served


class HeadServer(Served):
    """Serves subscriptions; `news` is set whenever a client comes, subscribes or leaves."""

    def __init__(self) -> None:
        self.url = ""
        self.refuses = False
        self.news = asyncio.Event()
        self.opened = 0
        self._sockets: list[web.WebSocketResponse] = []

    async def start(self) -> "HeadServer":
        """Serve on loopback."""
        self.url = f"ws://{await self.listen(0, [web.get('/key', self._serve)])}/key"
        return self

    @property
    def subscribed(self) -> int:
        """How many clients are subscribed now."""
        return len(self._sockets)

    async def until(self, subscribed: int) -> None:
        """Wait until so many clients are subscribed."""
        async with asyncio.timeout(10):
            while self.subscribed != subscribed:
                self.news.clear()
                await self.news.wait()

    async def tell(self, number: int) -> None:
        """Announce a block to everybody."""
        header = {"number": hex(number), "hash": "0x" + "00" * 32, "logsBloom": "0x" + "00" * 256}
        await self.say(
            {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0x1", "result": header}}
        )

    async def say(self, message: Any) -> None:
        """Send everybody a message."""
        for socket in self._sockets:
            await socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def drop(self) -> None:
        """Cut every connection."""
        for socket in list(self._sockets):
            await socket.close()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        async for message in socket:
            if message.type is WSMsgType.TEXT and json.loads(message.data)["method"] == "eth_subscribe":
                await self._subscribe(socket, json.loads(message.data))
        if socket in self._sockets:
            self._sockets.remove(socket)
        self.news.set()
        return socket

    async def _subscribe(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if self.refuses or asked["params"] != ["newHeads"]:
            await socket.send_json({**answer, "error": {"code": -32601, "message": "notifications not supported"}})
            return
        await socket.send_json({**answer, "result": "0x1"})
        self._sockets.append(socket)
        self.news.set()
