"""Polymarket over real HTTP and WebSockets: the Data API, Gamma, the market channel and the live feed, as documented.

By hand: `python -m tests.emulators.polymarket --plan tests/emulators/plans/bets.json`; it prints what to set. A plan is
JSON: `{"loop": false, "steps": [...]}`, each step an object with one key:

    {"await": "/trades"}                   wait until the path is called (again)
    {"await_channel": "will-it-rain"}      wait until somebody subscribes to the market's tokens
    {"wait_s": 0.5}                        pause
    {"market": {"slug": "will-it-rain", "question": "Will it rain?", "is_told": true}}   make a market
    {"settle": {"slug": "will-it-rain", "winner": "Yes"}}   close it
    {"trade": {"slug": "will-it-rain", "user": "ada", "side": "BUY", "outcome": "Yes", "size": 10, "price": 0.4,
               "makers": ["bob"], "is_told": true, "is_listed": true}}   trade; `is_listed` false: the API has it later
    {"list": true}                         list what was traded and not listed
    {"repeat": true}                       tell the sockets the last trade again
    {"send": "text"}                       send something else to every client
    {"drop": true}                         cut every connection without a close
    {"close": 1011}                        close every connection with a code
    {"silence": true|false}                answer no ping and tell nothing, but stay connected
    {"deafen": true|false}                 answer pings, and tell nothing
    {"limit": {"path": "/trades", "times": 1, "retry_after": "1"}}   answer 429
    {"fail": {"path": "", "times": 1, "status": 502}}       answer HTML with a status
    {"garbage": {"path": "", "times": 1, "text": "{"}}      answer 200 with something else than was asked for
    {"cut": {"path": "", "times": 1}}                       close the connection without an answer
"""

import argparse
import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web
from eth_utils import keccak

from tests.emulators.serving import Served

ASSETS = 500
DEEPEST, LARGEST_PAGE, LARGEST_LIST = 10_000, 10_000, 100
#: What a fault is, by the word of a plan.
FAULTS = ("limit", "fail", "garbage", "cut")


def digest(*parts: Any) -> str:
    return "0x" + keccak(repr(parts).encode()).hex()


def wallet_of(name: str) -> str:
    return digest("user", name)[:42]


def iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Client:
    """One connection, and what it subscribed to: tokens of a market channel, or the topics of the live feed."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.assets: set[str] = set()
        self.topics: set[str] = set()
        self.has_news = False
        self.pinged_at = time.monotonic()


class Polymarket(Served):
    """The service. `calls` has every call, `said` every message of a client; `patience_s` is how long a client may
    send no text ping."""

    def __init__(self, *, patience_s: float = 30.0, deepest: int = DEEPEST) -> None:
        self.url = ""
        self.patience_s = patience_s
        self.deepest = deepest
        #: Whether trades can be asked for by time.
        self.has_windows = True
        self.calls: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.pings = 0
        self.clients: list[Client] = []
        self.connections = 0
        self.markets: dict[str, dict[str, Any]] = {}
        self.profiles: list[dict[str, Any]] = []
        #: Fills, taker's and makers', as the Data API lists them; `_taker` and `_listed` stay inside.
        self.fills: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self._hidden_markets: set[str] = set()
        self._faults: list[dict[str, Any]] = []
        self._is_silent = self._is_deaf = False
        self._traded = 0
        self._last: tuple[dict[str, Any], dict[str, Any]] | None = None

    async def start(self, port: int = 0) -> "Polymarket":
        self.url = await self.listen(
            port,
            [
                web.get("/data/{path:.*}", self._answer), web.get("/gamma/{path:.*}", self._answer),
                web.get("/ws/market", self._channel), web.get("/live", self._live),
            ],
        )  # fmt: skip
        return self

    async def stop(self) -> None:
        self.drop()
        await super().stop()

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which a master reads this service."""
        urls = {"polymarket-data": f"http://{self.url}/data", "polymarket-gamma": f"http://{self.url}/gamma"}
        return {
            "provider_urls": json.dumps(urls, separators=(",", ":")),
            "polymarket_channel_url": f"ws://{self.url}",
            "polymarket_live_url": f"ws://{self.url}/live",
        }

    # -- what happens

    async def market(
        self, slug: str, question: str = "", *, is_told: bool = True, is_listed: bool = True, at_s: float = 0,
        outcomes: tuple[str, str] = ("Yes", "No"),
    ) -> str:  # fmt: skip
        """Make a market; returns its condition id."""
        condition, number = digest("market", slug), len(self.markets) + 1
        tokens = [str(int(digest("token", slug, outcome), 16)) for outcome in outcomes]
        self.markets[slug] = {
            "id": str(500_000 + number), "question": question or f"{slug}?", "conditionId": condition, "slug": slug,
            "description": f"This market is about {slug}.", "outcomes": json.dumps(outcomes),
            "outcomePrices": '["0.5", "0.5"]', "clobTokenIds": json.dumps(tokens), "active": True, "closed": False,
            "endDate": "2030-01-01T00:00:00Z", "createdAt": iso(at_s or time.time()), "volume": "0",
            "events": [{"id": str(number), "slug": f"{slug}-event", "title": f"Event of {slug}"}],
        }  # fmt: skip
        if not is_listed:
            self._hidden_markets.add(slug)
        if is_told:
            await self._tell_market("new_market", slug)
        self.news.set()
        return condition

    async def settle(self, slug: str, winner: str = "Yes", *, is_told: bool = True, at_s: float = 0) -> None:
        """Close a market."""
        market = self.markets[slug]
        outcomes = json.loads(market["outcomes"])
        prices = ["1" if outcome == winner else "0" for outcome in outcomes]
        closed = datetime.fromtimestamp(at_s or time.time(), UTC).strftime("%Y-%m-%d %H:%M:%S+00")
        market |= {"closed": True, "closedTime": closed, "outcomePrices": json.dumps(prices)}
        if is_told:
            tokens = json.loads(market["clobTokenIds"])
            about = {"winning_asset_id": tokens[outcomes.index(winner)], "winning_outcome": winner}
            await self._tell_market("market_resolved", slug, **about)
        self.news.set()

    async def _tell_market(self, kind: str, slug: str, **more: Any) -> None:
        market = self.markets[slug]
        event = market["events"][0]
        said = {
            "event_type": kind, "id": market["id"], "question": market["question"], "market": market["conditionId"],
            "slug": slug, "description": market["description"], "assets_ids": json.loads(market["clobTokenIds"]),
            "outcomes": json.loads(market["outcomes"]), "event_message": {**event, "ticker": event["slug"]},
            "timestamp": str(time.time_ns() // 10**6), **more,
        }  # fmt: skip
        await self._send([client for client in self.clients if client.has_news], said)

    def user(self, name: str, *, wallet: str = "", eoa: str = "") -> str:
        """Make a user; returns the wallet."""
        wallet = wallet or wallet_of(name)
        profile = {"name": name, "pseudonym": f"Quiet-{name}", "proxyWallet": wallet, "bio": ""}
        self.profiles.append({**profile, "_eoa": eoa})
        return wallet

    def list_all(self) -> None:
        """List every market and every fill that was not listed yet."""
        self._hidden_markets.clear()
        for fill in self.fills:
            fill["_listed"] = True

    async def trade(
        self, slug: str, user: str = "ada", *, side: str = "BUY", outcome: str = "Yes", size: Any = 10,
        price: Any = 0.5, makers: tuple[str, ...] = (), tx: str = "", at_s: int = 0, is_told: bool = True,
        is_listed: bool = True, **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """Trade; each maker takes an equal part, at the same price. Returns the taker's row."""
        self._traded += 1
        tx = tx or digest("tx", self._traded, time.time_ns())
        at_s = at_s or int(time.time())
        row = self._row(slug, user, side=side, outcome=outcome, size=size, price=price, tx=tx, at_s=at_s, **more)
        self.fills.append({**row, "_taker": True, "_listed": is_listed})
        other = "SELL" if side == "BUY" else "BUY"
        for maker in makers:
            part = self._row(
                slug, maker, side=other, outcome=outcome, size=size / len(makers), price=price, tx=tx, at_s=at_s
            )
            self.fills.append({**part, "_taker": False, "_listed": is_listed})
        told = {
            "event_type": "last_trade_price", "asset_id": row["asset"], "market": row["conditionId"],
            "price": str(price).removeprefix("0") or "0", "size": str(size), "fee_rate_bps": "0", "side": side,
            "timestamp": str(at_s * 1000), "transaction_hash": tx,
        }  # fmt: skip
        live = {"topic": "activity", "type": "trades", "timestamp": at_s * 1000, "payload": row, "connection_id": "c"}
        self._last = told, live
        if is_told:
            await self.repeat()
        self.news.set()
        return row

    async def repeat(self) -> None:
        """Tell the sockets the last trade, again if they heard it."""
        assert self._last is not None, "something was traded"
        told, live = self._last
        await self._send([one for one in self.clients if told["asset_id"] in one.assets], [told])
        await self._send([one for one in self.clients if "activity" in one.topics], live)

    def _row(
        self, slug: str, user: str, *, side: str, outcome: str, size: Any, price: Any, tx: str, at_s: int, **more: Any
    ) -> dict[str, Any]:  # fmt: skip
        market = self.markets[slug]
        outcomes, tokens = json.loads(market["outcomes"]), json.loads(market["clobTokenIds"])
        at = outcomes.index(outcome)
        return {
            "proxyWallet": wallet_of(user), "side": side, "asset": tokens[at], "conditionId": market["conditionId"],
            "size": size, "price": price, "timestamp": at_s, "title": market["question"], "slug": slug,
            "icon": f"https://polymarket.example/{slug}.png", "eventSlug": f"{slug}-event", "outcome": outcome,
            "outcomeIndex": at, "name": user, "pseudonym": f"Quiet-{user}", "bio": "", "profileImage": "",
            "profileImageOptimized": "", "transactionHash": tx, **more,
        }  # fmt: skip

    # -- misbehaviour

    def fault(self, kind: str, *, path: str = "", about: str = "", times: int = 1, **more: Any) -> None:
        """Fail the next calls of a path (any, if empty) whose query has this text, in a way of FAULTS."""
        assert kind in FAULTS
        self._faults.append({"kind": kind, "path": path, "about": about, "times": times, **more})

    async def send(self, text: str) -> None:
        """Send any text to every client."""
        for client in list(self.clients):
            with contextlib.suppress(ConnectionError):
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

    def deafen(self, is_deaf: bool = True) -> None:
        """Answer pings, and tell nothing."""
        self._is_deaf = is_deaf

    async def until(self, is_so: Any, limit_s: float = 20.0) -> None:
        """Wait until something is so of what clients said or called."""
        async with asyncio.timeout(limit_s):
            while not is_so():
                self.news.clear()
                await self.news.wait()

    def called(self, path: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["path"] == path]

    def subscribed(self) -> set[str]:
        """The tokens that somebody subscribes to."""
        return {asset for client in self.clients for asset in client.assets}

    def tokens(self, *slugs: str) -> set[str]:
        return {token for slug in slugs for token in json.loads(self.markets[slug]["clobTokenIds"])}

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
                before = len(self.called(value))
                await self.until(lambda: len(self.called(value)) > before, 600)
            case "await_channel":
                await self.until(lambda: self.tokens(value) <= self.subscribed(), 600)
            case "wait_s":
                await asyncio.sleep(value)
            case "market" | "settle":
                await getattr(self, act)(**value)
            case "trade":
                await self.trade(**{**value, "makers": tuple(value.get("makers", ()))})
            case "list":
                self.list_all()
            case "repeat":
                await self.repeat()
            case "send":
                await self.send(value)
            case "drop":
                self.drop()
            case "close":
                await self.close(value)
            case "silence":
                self.silence(value)
            case "deafen":
                self.deafen(value)
            case _ if act in FAULTS:
                self.fault(act, **value)
            case _:
                raise ValueError(f"a plan has no step {act!r}")

    # -- HTTP

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.match_info["path"]
        fields = {name: request.query.getall(name) for name in request.query}
        self.calls.append({"path": path, "fields": fields})
        self.news.set()
        broken = self._broken(path, request)
        if broken is not None:
            return broken
        only = {name: values[0] for name, values in fields.items()}
        if path == "/trades":
            return self._trades(only)
        if path == "/markets":
            return self._markets(only, fields.get("condition_ids"))
        if path.startswith("/markets/slug/"):
            slug = path.rsplit("/", 1)[1]
            return self._one(self.markets.get(slug) if slug not in self._hidden_markets else None)
        if path == "/public-profile":
            address = only["address"].lower()
            return self._one(next((one for one in self.profiles if address in (one["proxyWallet"], one["_eoa"])), None))
        if path == "/public-search":
            found = [one for one in self.profiles if only["q"] in f"{one['name']} {one['pseudonym']}".casefold()]
            return web.json_response({"events": [], "tags": [], "profiles": [_public(one) for one in found]})
        return web.json_response({"error": "not found"}, status=404)

    def _broken(self, path: str, request: web.Request) -> web.Response | None:
        for fault in self._faults:
            is_meant = path.startswith(fault["path"]) and fault["about"] in request.query_string
            if fault["times"] > 0 and is_meant:
                fault["times"] -= 1
                return _failing(fault, request)
        return None

    @staticmethod
    def _one(found: dict[str, Any] | None) -> web.Response:
        return web.json_response({"error": "not found"}, status=404) if found is None else web.json_response(
            _public(found)
        )  # fmt: skip

    def _trades(self, fields: dict[str, str]) -> web.Response:
        limit, offset = int(fields.get("limit", "100")), int(fields.get("offset", "0"))
        if not 0 <= offset <= self.deepest or not 0 <= limit <= LARGEST_PAGE:
            return web.json_response({"error": "max historical activity offset exceeded"}, status=400)
        markets, is_taker_only = fields.get("market", "").split(","), fields.get("takerOnly", "true") == "true"
        found = [
            one for one in self.fills
            if one["_listed"] and (one["_taker"] or not is_taker_only)
            and ("market" not in fields or one["conditionId"] in markets)
            and ("user" not in fields or one["proxyWallet"] == fields["user"])
            and (not self.has_windows or _is_within(one["timestamp"], fields))
        ]  # fmt: skip
        found.sort(key=lambda one: one["timestamp"] if isinstance(one["timestamp"], int) else 2**40, reverse=True)
        text = json.dumps([_public(one) for one in found[offset : offset + limit]])  # NaN as the service may write it
        return web.Response(text=text, content_type="application/json")

    def _markets(self, fields: dict[str, str], conditions: list[str] | None) -> web.Response:
        is_closed = fields.get("closed", "false") == "true"
        found = [
            one for slug, one in self.markets.items()
            if slug not in self._hidden_markets and one["closed"] == is_closed
            and (conditions is None or one["conditionId"] in conditions)
        ]  # fmt: skip
        if "order" in fields:
            found.sort(key=lambda one: one.get(fields["order"], ""), reverse=fields.get("ascending") == "false")
        offset, limit = int(fields.get("offset", "0")), min(int(fields.get("limit", "20")), LARGEST_LIST)
        return web.json_response([_public(one) for one in found[offset : offset + limit]])

    # -- WebSockets

    async def _send(self, clients: list[Client], said: Any) -> None:
        if self._is_silent or self._is_deaf:
            return
        for client in list(clients):
            with contextlib.suppress(ConnectionError):
                await client.socket.send_str(json.dumps(said))

    async def _channel(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, self._hear_channel)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        return await self._serve(request, self._hear_live)

    async def _serve(self, request: web.Request, hear: Any) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        client = Client(socket, request)
        self.connections += 1
        self.clients.append(client)
        watcher = asyncio.create_task(self._cut_the_quiet(client))
        try:
            async for message in socket:
                if message.type is WSMsgType.PING and not self._is_silent:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    await self._hear(client, message.data, hear)
        finally:
            watcher.cancel()
            if client in self.clients:
                self.clients.remove(client)
            self.news.set()
        return socket

    async def _hear(self, client: Client, text: str, hear: Any) -> None:
        self.news.set()
        if text in ("PING", "ping"):
            client.pinged_at = time.monotonic()
            self.pings += 1
            if not self._is_silent:
                await client.socket.send_str(text.replace("I", "O").replace("i", "o"))
            return
        self.said.append(text)
        await hear(client, json.loads(text))

    async def _hear_channel(self, client: Client, said: dict[str, Any]) -> None:
        assets = set(said["assets_ids"])
        if said.get("type") == "market":
            client.assets, client.has_news = assets, said.get("custom_feature_enabled") is True
        elif said["operation"] == "subscribe":
            client.assets |= assets
        else:
            client.assets -= assets
        if len(client.assets) > ASSETS:
            await client.socket.close(code=1008, message=b"too many assets")

    async def _hear_live(self, client: Client, said: dict[str, Any]) -> None:
        topics = {one["topic"] for one in said["subscriptions"]}
        client.topics = client.topics | topics if said["action"] == "subscribe" else client.topics - topics

    async def _cut_the_quiet(self, client: Client) -> None:
        while (left := client.pinged_at + self.patience_s - time.monotonic()) > 0:
            await asyncio.sleep(left)
        await client.socket.close(code=1008, message=b"no ping")


def _is_within(at: Any, fields: dict[str, str]) -> bool:
    return not isinstance(at, int) or int(fields.get("start", "0")) <= at <= int(fields.get("end", str(2**40)))


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _failing(fault: dict[str, Any], request: web.Request) -> web.Response:
    match fault["kind"]:
        case "limit":
            return web.json_response(
                {"error": "too many requests"}, status=429, headers={"Retry-After": str(fault.get("retry_after", "1"))}
            )
        case "fail":
            return web.Response(status=fault.get("status", 502), text="<html>sorry</html>", content_type="text/html")
        case "garbage":
            return web.Response(text=fault.get("text", "{"), content_type="application/json")
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def main(arguments: argparse.Namespace) -> None:
    polymarket = await Polymarket().start(arguments.port)
    await polymarket.market("will-it-rain", "Will it rain in Lisbon tomorrow?")
    polymarket.user("ada")
    for name, value in polymarket.settings.items():
        print(f"B3OS_{name.upper()}='{value}'", flush=True)
    print(f"# market will-it-rain, {polymarket.markets['will-it-rain']['conditionId']}; user ada, {wallet_of('ada')}")
    if arguments.plan:
        await polymarket.play(json.loads(arguments.plan.read_text()))
        print("plan done", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Polymarket, locally.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plan", type=Path)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
