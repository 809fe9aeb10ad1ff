"""The Stork oracle over a real WebSocket: authenticates, compresses, signs for real, and misbehaves as a plan says.

By hand: `python -m tests.emulators.stork --plan tests/emulators/plans/swing.json`; it prints what to set. A plan is
JSON: `{"loop": false, "steps": [...]}`, each step an object with one key:

    {"await": "BTCUSD"}            wait until somebody subscribes to it
    {"wait_s": 0.5}                pause
    {"tick": {"BTCUSD": "64210.5"}}   send signed prices to who subscribed
    {"forge": {...}}               the same, signed by a stranger
    {"tamper": {...}}              the same, the price changed after it was signed
    {"send": "text"}               send something else to every client
    {"drop": true}                 cut every connection without a close
    {"close": 1011}                close every connection with a code
    {"silence": true|false}        neither send nor answer pings, but stay connected
"""

import argparse
import asyncio
import contextlib
import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from eth_keys import keys
from eth_utils import keccak

from tests.emulators.serving import Served

CHECKSUM = "9be7e9f9ed459417d96112a7467bd0b27575a2c7847195c68f805b70ce1795ba"
STORK = keys.PrivateKey(keccak(b"stork"))
STRANGER = keys.PrivateKey(keccak(b"stranger"))
PUBLISHERS = tuple(keys.PrivateKey(keccak(b"publisher %d" % number)) for number in range(3))
SIGNER = STORK.public_key.to_checksum_address()
MESSAGES_PER_S = 5
CONNECTIONS = 10
#: A client is cut that sends no ping or pong for so long.
PATIENCE_S = 60.0


def word(number: int) -> bytes:
    return number.to_bytes(32, "big", signed=True)


def signed(key: Any, message: bytes, at_ns: int) -> dict[str, Any]:
    """A timestamped signature, as Ethereum accounts sign messages."""
    made = key.sign_msg_hash(keccak(b"\x19Ethereum Signed Message:\n32" + message))
    return {
        "signature": {"r": f"0x{made.r:064x}", "s": f"0x{made.s:064x}", "v": hex(made.v + 27)},
        "timestamp": at_ns,
        "msg_hash": "0x" + message.hex(),
    }


def root_of(leaves: list[bytes]) -> bytes:
    while len(leaves) > 1:
        leaves = leaves + leaves[-1:] * (len(leaves) % 2)
        leaves = [keccak(leaves[at] + leaves[at + 1]) for at in range(0, len(leaves), 2)]
    return leaves[0]


def published(key: Any, asset: str, price: int, at_ns: int) -> dict[str, Any]:
    """One publisher's signed price."""
    address = key.public_key.to_canonical_address()
    leaf = keccak(address + asset.encode() + word(at_ns // 10**9) + word(price))
    return {
        "publisher_key": "0x" + address.hex(),
        "external_asset_id": asset,
        "signature_type": "evm",
        "price": str(price),
        "timestamped_signature": signed(key, leaf, at_ns),
    }


def quote(asset: str, price: int, at_ns: int, key: Any = STORK) -> dict[str, Any]:
    """A whole quote: three publishers and the oracle's own signature."""
    prices = [published(one, asset, price + number - 1, at_ns) for number, one in enumerate(PUBLISHERS)]
    root = root_of([bytes.fromhex(one["timestamped_signature"]["msg_hash"][2:]) for one in prices])
    address, name = STORK.public_key.to_canonical_address(), keccak(asset.encode())
    message = keccak(address + name + word(at_ns) + word(price) + root + bytes.fromhex(CHECKSUM))
    return {
        "timestamp": at_ns,
        "asset_id": asset,
        "signature_type": "evm",
        "trigger": "clock",
        "price": str(price),
        "stork_signed_price": {
            "public_key": SIGNER,
            "encoded_asset_id": "0x" + name.hex(),
            "price": str(price),
            "timestamped_signature": signed(key, message, at_ns),
            "publisher_merkle_root": "0x" + root.hex(),
            "calculation_alg": {"type": "median", "version": "v1", "checksum": CHECKSUM},
        },
        "signed_prices": prices,
    }


def with_price(made: dict[str, Any], price: str) -> dict[str, Any]:
    """A quote whose price is another than the signed one; also one that is no number."""
    return {**made, "price": price, "stork_signed_price": {**made["stork_signed_price"], "price": price}}


class Client:
    """One connection and what it subscribed to."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.assets: set[str] = set()
        self.sent_at: list[float] = []
        self.pinged_at = time.monotonic()

    def is_flooding(self) -> bool:
        now = time.monotonic()
        self.sent_at = [at for at in self.sent_at if now - at < 1] + [now]
        return len(self.sent_at) > MESSAGES_PER_S


class Stork(Served):
    """The service. `requests` has every client message; `news` is set whenever something happened."""

    def __init__(self, token: str = "c3Rvcms6a2V5") -> None:
        self.token = token
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.clients: list[Client] = []
        self.connections = 0
        self.closes: list[int] = []
        self.news = asyncio.Event()
        self.is_limited = False
        self._is_silent = False
        self._latest: dict[str, dict[str, Any]] = {}

    async def start(self, port: int = 0) -> "Stork":
        self.url = f"ws://{await self.listen(port, [web.get('/evm/subscribe', self._serve)])}/evm/subscribe"
        return self

    async def stop(self) -> None:
        self.drop()
        await super().stop()

    async def until_subscribed(self, *assets: str, limit_s: float = 20.0) -> None:
        """Wait until one connection has subscribed to all of these."""
        async with asyncio.timeout(limit_s):
            while not any(set(assets) <= client.assets for client in self.clients):
                self.news.clear()
                await self.news.wait()

    async def tick(self, prices: dict[str, str], *, key: Any = STORK, at_ns: int = 0, changed: str = "") -> int:
        """Send prices, decimals as text, to who subscribed; `changed` replaces the price after it was signed.

        Returns their time.
        """
        now = at_ns or time.time_ns()
        made = {}
        for asset, price in prices.items():
            made[asset] = quote(asset, int(Fraction(price) * 10**18), now, key)
            if changed:
                made[asset] = with_price(made[asset], changed)
            elif key is STORK:
                self._latest[asset] = made[asset]
        await self.send_quotes(made)
        return now

    async def send_quotes(self, quotes: dict[str, Any]) -> None:
        """Send quotes as they are."""
        for client in list(self.clients):
            await self._send(client, {asset: one for asset, one in quotes.items() if asset in client.assets})

    async def send(self, text: str) -> None:
        """Send any text to every client."""
        for client in list(self.clients):
            await client.socket.send_str(text)

    def drop(self) -> None:
        """Cut every connection."""
        for client in self.clients:
            if client.request.transport is not None:
                client.request.transport.abort()
        self.clients = []

    async def close(self, code: int) -> None:
        """Close every connection with a code."""
        for client in list(self.clients):
            await client.socket.close(code=code, message=b"by plan")

    def silence(self, is_silent: bool = True) -> None:
        """Stay connected, and say nothing."""
        self._is_silent = is_silent

    async def play(self, plan: dict[str, Any]) -> None:
        """Carry a plan out."""
        while True:
            for step in plan["steps"]:
                ((act, value),) = step.items()
                await self._act(act, value)
            if not plan.get("loop"):
                return

    async def _act(self, act: str, value: Any) -> None:
        match act:
            case "await":
                await self.until_subscribed(value, limit_s=600)
            case "wait_s":
                await asyncio.sleep(value)
            case "tick":
                await self.tick(value)
            case "forge":
                await self.tick(value, key=STRANGER)
            case "tamper":
                for asset, price in value.items():
                    await self.tick({asset: price}, changed=str(int(Fraction(price) * 2 * 10**18)))
            case "send":
                await self.send(value)
            case "drop":
                self.drop()
            case "close":
                await self.close(value)
            case "silence":
                self.silence(value)
            case _:
                raise ValueError(f"a plan has no step {act!r}")

    async def _send(self, client: Client, quotes: dict[str, Any]) -> None:
        if quotes and not self._is_silent:
            with contextlib.suppress(ConnectionError):
                await client.socket.send_str(json.dumps({"type": "oracle_prices", "trace_id": "9f", "data": quotes}))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("authorization") != f"Basic {self.token}":
            return web.Response(status=401)
        if self.is_limited or len(self.clients) >= CONNECTIONS:
            return web.Response(status=429)
        if "permessage-deflate" not in request.headers.get("sec-websocket-extensions", ""):
            return web.Response(status=400, text="compression is required")
        socket = web.WebSocketResponse(compress=True, autoping=False)
        await socket.prepare(request)
        client = Client(socket, request)
        self.connections += 1
        self.clients.append(client)
        self.news.set()
        watcher = asyncio.create_task(self._cut_the_quiet(client))
        try:
            async for message in socket:
                await self._hear(client, message)
        finally:
            watcher.cancel()
            self.closes.append(socket.close_code or 0)
            if client in self.clients:
                self.clients.remove(client)
            self.news.set()
        return socket

    async def _hear(self, client: Client, message: Any) -> None:
        if message.type in (WSMsgType.PING, WSMsgType.PONG):
            client.pinged_at = time.monotonic()
            if message.type is WSMsgType.PING and not self._is_silent:
                await client.socket.pong(message.data)
            return
        if client.is_flooding():
            await client.socket.close(code=1008, message=b"too many messages")
            return
        said = json.loads(message.data)
        self.requests.append(said)
        if said["type"] == "subscribe":
            client.assets |= set(said["data"])
        else:
            client.assets -= set(said["data"])
        if not self._is_silent:
            await client.socket.send_str(json.dumps({**said, "data": {"subscriptions": sorted(client.assets)}}))
        await self._send(client, {asset: self._latest[asset] for asset in said["data"] if asset in self._latest})
        self.news.set()

    async def _cut_the_quiet(self, client: Client) -> None:
        while (left := client.pinged_at + PATIENCE_S - time.monotonic()) > 0:
            await asyncio.sleep(left)
        await client.socket.close(code=1008, message=b"no ping for a minute")


async def main(arguments: argparse.Namespace) -> None:
    stork = await Stork(arguments.token).start(arguments.port)
    print(f"B3OS_STORK_URL={stork.url} B3OS_STORK_KEY={stork.token} B3OS_STORK_SIGNERS={SIGNER}", flush=True)
    if arguments.plan:
        await stork.play(json.loads(arguments.plan.read_text()))
        print("plan done", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The Stork price oracle, locally.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default="c3Rvcms6a2V5")
    parser.add_argument("--plan", type=Path)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
