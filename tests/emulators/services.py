"""Slack, Telegram, Discord and CoinGecko over real HTTP, in the answers that their references document."""

from typing import Any

from aiohttp import web

from tests.emulators.serving import Served

SLACK_TOKEN = "xoxb-" + "1" * 12
TELEGRAM_TOKEN = "123456:" + "A" * 30
DISCORD_TOKEN = "d" * 40
GECKO_KEY = "CG-" + "k" * 20


class Services(Served):
    """One server; each service under a path of its own. `limited` answers 429 as the service does."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.limited = False
        self.broken = ""
        self.url = ""

    async def start(self) -> "Services":
        routes = [
            web.route("*", "/slack/{method}", self._slack),
            web.post("/telegram/bot{token}/sendMessage", self._telegram),
            web.post("/discord/channels/{channel}/messages", self._discord),
            web.get("/gecko/{path:.*}", self._gecko),
        ]
        self.url = f"http://{await self.listen(0, routes)}"
        return self

    async def _note(self, request: web.Request) -> Any:
        body = await request.json() if request.can_read_body else None
        self.requests.append(
            {"path": request.path, "query": dict(request.query), "body": body, "headers": request.headers}
        )
        return body

    async def _slack(self, request: web.Request) -> web.Response:
        body = await self._note(request)
        if self.broken:
            return web.Response(text=self.broken, status=502 if self.broken.startswith("<") else 200)
        if self.limited:
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "7"})
        if request.headers.get("authorization") != f"Bearer {SLACK_TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if request.match_info["method"] == "conversations.list":
            channel = {"id": "C1", "name": "general", "is_private": False, "is_archived": False, "num_members": 3}
            page = {"next_cursor": "" if request.query.get("cursor") else "dGVhbTpDMQ=="}
            return web.json_response({"ok": True, "channels": [channel], "response_metadata": page})
        errors = {"C404": "channel_not_found", "C403": "not_in_channel"}
        if body["channel"] in errors:
            return web.json_response({"ok": False, "error": errors[body["channel"]]})
        ts = "1780000000.000100"
        message = {"type": "message", "text": body["text"], "ts": ts}
        return web.json_response({"ok": True, "channel": body["channel"], "ts": ts, "message": message})

    async def _telegram(self, request: web.Request) -> web.Response:
        body = await self._note(request)
        if request.match_info["token"] != TELEGRAM_TOKEN:
            return _telegram_error(401, "Unauthorized")
        if self.limited:
            return _telegram_error(429, "Too Many Requests: retry after 5", {"parameters": {"retry_after": 5}})
        if body["chat_id"] == "0":
            return _telegram_error(400, "Bad Request: chat not found")
        chat = {"id": int(body["chat_id"]), "type": "private"}
        result = {"message_id": 42, "date": 1_780_000_000, "chat": chat, "text": body["text"]}
        return web.json_response({"ok": True, "result": result})

    async def _discord(self, request: web.Request) -> web.Response:
        body = await self._note(request)
        if request.headers.get("authorization") != f"Bot {DISCORD_TOKEN}":
            return web.json_response({"message": "401: Unauthorized", "code": 0}, status=401)
        if self.limited:
            limit = {"message": "You are being rate limited.", "retry_after": 0.65, "global": False}
            return web.json_response(limit, status=429, headers={"Retry-After": "1"})
        if request.match_info["channel"] == "404":
            return web.json_response({"message": "Unknown Channel", "code": 10003}, status=404)
        return web.json_response({"id": "334385199974967042", "channel_id": "1", "content": body["content"]})

    async def _gecko(self, request: web.Request) -> web.Response:
        await self._note(request)
        if self.limited:
            status = {"error_code": 429, "error_message": "You've exceeded the Rate Limit."}
            return web.json_response({"status": status}, status=429, headers={"Retry-After": "60"})
        if request.headers.get("x-cg-demo-api-key") not in (None, GECKO_KEY):
            return web.json_response({"status": {"error_code": 10002, "error_message": "Invalid API key"}}, status=401)
        found = GECKO.get(request.match_info["path"])
        return web.json_response({"error": "coin not found"}, status=404) if found is None else web.json_response(found)


def _telegram_error(status: int, description: str, more: dict[str, Any] | None = None) -> web.Response:
    body = {"ok": False, "error_code": status, "description": description, **(more or {})}
    return web.json_response(body, status=status)


_TOKEN = {"address": "0xa0b8", "name": "USD Coin", "symbol": "USDC", "coingecko_coin_id": "usd-coin"}
GECKO: dict[str, Any] = {
    "simple/price": {"bitcoin": {"usd": 67187.33, "eur": None}},
    "coins/bitcoin/market_chart": {
        "prices": [[1711843200000, 69702.3]],
        "market_caps": [[1711843200000, 1370247487960.09]],
        "total_volumes": [[1711843200000, 16408802301.83]],
    },
    "coins/bitcoin/ohlc/range": [[1709395200000, 61942, 62211, 61721, 61845]],
    "onchain/networks/eth/pools/0x88e6/ohlcv/day": {
        "data": {"id": "x", "attributes": {"ohlcv_list": [[1712534400, 3454.6, 3660.8, 3417.9, 3695.2, 306823277.03]]}},
        "meta": {"base": {**_TOKEN, "symbol": "WETH"}, "quote": _TOKEN},
    },
    "onchain/networks/eth/tokens/0xa0b8": {
        "data": {
            "id": "eth_0xa0b8",
            "type": "token",
            "attributes": {
                "name": "USD Coin",
                "symbol": "USDC",
                "price_usd": "0.99",
                "market_cap_usd": None,
                "volume_usd": {"h24": "12.5"},
            },
        }
    },
}
