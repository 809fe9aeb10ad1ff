"""A Slack workspace over real HTTP, as its Web API documents it: history, threads, paging, limits, refusals.

By hand: `python -m tests.emulators.slack --plan tests/emulators/plans/mentions.json`; it prints what to set. A plan is
JSON: `{"loop": false, "steps": [...]}`, each step an object with one key:

    {"await": "conversations.history"}     wait until the method is called (again)
    {"wait_s": 0.5}                        pause
    {"say": {"channel": "C1", "text": "hi <@UBOT>", "thread": "a", "as": "b"}}
                                           write a message, into the thread of the message called `a`, and call it `b`
    {"limit": {"method": "", "times": 1, "retry_after": "1"}}   answer 429
    {"fail": {"method": "", "times": 1, "status": 502}}         answer HTML with a status
    {"garbage": {"method": "", "times": 1, "text": "{"}}        answer 200 with something else than was asked for
    {"cut": {"method": "", "times": 1}}                         close the connection without an answer
    {"refuse": {"method": "", "times": 1, "error": "internal_error"}}   answer ok: false
    {"revoke": "token_revoked"}            refuse the token from now on
    {"restore": true}                      take it again
"""

import argparse
import asyncio
import base64
import contextlib
import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.emulators.serving import Served

TOKEN = "xoxb-" + "2" * 24
BOT, BOT_ID = "UBOT", "BBOT"
DEFAULT_PAGE, LARGEST_PAGE = 100, 999
#: What a fault is, by the word of a plan.
FAULTS = ("limit", "fail", "garbage", "cut", "refuse")


def as_micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 10**6 + int(fraction.ljust(6, "0"))


def as_ts(micros: int) -> str:
    return f"{micros // 10**6}.{micros % 10**6:06d}"


class Slack(Served):
    """The service. `calls` has every call; `page` caps a page, `per_minute` the calls of a method, as a tier does."""

    def __init__(self, token: str = TOKEN, *, page: int = LARGEST_PAGE, per_minute: int = 0) -> None:
        self.token = token
        self.page = page
        self.per_minute = per_minute
        self.url = ""
        self.calls: list[dict[str, Any]] = []
        self.revoked = ""
        #: Channel id to its messages by ts; replies are in it too.
        self.channels: dict[str, dict[str, dict[str, Any]]] = {}
        #: Channels that the bot is not in.
        self.closed: dict[str, str] = {}
        self.news = asyncio.Event()
        self._faults: list[dict[str, Any]] = []
        self._called: dict[str, list[float]] = {}
        self._last = 0

    async def start(self, port: int = 0) -> "Slack":
        self.url = f"http://{await self.listen(port, [web.post('/api/{method}', self._serve)])}/api"
        return self

    def say(
        self, channel: str, text: str, *, user: str = "U1", thread: str = "", at: int = 0, **more: Any
    ) -> str:  # fmt: skip
        """Write a message, also one of the past (`at`, in microseconds); returns its ts."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        ts = as_ts(at or self._last)
        messages = self.channels.setdefault(channel, {})
        message = {"type": "message", "user": user, "text": text, "ts": ts, "team": "T1", **more}
        if thread:
            parent = messages[thread]
            message |= {"thread_ts": thread, "parent_user_id": parent["user"]}
            count, latest = parent.get("reply_count", 0) + 1, max(parent.get("latest_reply", ""), ts, key=_order)
            parent |= {"thread_ts": thread, "reply_count": count, "latest_reply": latest, "reply_users": [user]}
        messages[ts] = message
        self.news.set()
        return ts

    def fault(self, kind: str, *, method: str = "", times: int = 1, **more: Any) -> None:
        """Fail the next calls of a method (any, if empty) in a way of FAULTS."""
        assert kind in FAULTS
        self._faults.append({"kind": kind, "method": method, "times": times, **more})

    def called(self, method: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["method"] == method]

    async def play(self, plan: dict[str, Any]) -> None:
        """Carry a plan out."""
        names: dict[str, str] = {}
        while True:
            for step in plan["steps"]:
                ((act, value),) = step.items()
                await self._act(act, value, names)
            if not plan.get("loop"):
                return

    async def _act(self, act: str, value: Any, names: dict[str, str]) -> None:
        match act:
            case "await":
                before = len(self.called(value))
                while len(self.called(value)) == before:
                    self.news.clear()
                    await self.news.wait()
            case "wait_s":
                await asyncio.sleep(value)
            case "say":
                thread = names.get(value.get("thread", ""), "")
                ts = self.say(value["channel"], value["text"], user=value.get("user", "U1"), thread=thread)
                names[value.get("as", "")] = ts
            case "revoke":
                self.revoked = value
            case "restore":
                self.revoked = ""
            case _ if act in FAULTS:
                self.fault(act, **value)
            case _:
                raise ValueError(f"a plan has no step {act!r}")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method, fields = request.match_info["method"], dict(await request.post())
        self.calls.append({"method": method, **fields, "authorization": request.headers.get("authorization", "")})
        self.news.set()
        broken = self._broken(method, request)
        if broken is not None:
            return broken
        if not self._is_allowed(method):
            return _limited("60")
        return web.json_response(self._answer(method, {k: str(v) for k, v in fields.items()}, request))

    def _broken(self, method: str, request: web.Request) -> web.Response | None:
        for fault in self._faults:
            if fault["times"] > 0 and fault["method"] in ("", method):
                fault["times"] -= 1
                return _failing(fault, request)
        return None

    def _is_allowed(self, method: str) -> bool:
        now = time.monotonic()
        recent = [at for at in self._called.get(method, []) if now - at < 60]
        self._called[method] = [*recent, now]
        return not self.per_minute or len(recent) < self.per_minute

    def _answer(self, method: str, fields: dict[str, str], request: web.Request) -> dict[str, Any]:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return {"ok": False, "error": "invalid_auth"}
        if self.revoked:
            return {"ok": False, "error": self.revoked}
        if method == "auth.test":
            return {
                "ok": True, "url": "https://t.slack.com/", "team": "T", "user": "bot", "team_id": "T1",
                "user_id": BOT, "bot_id": BOT_ID, "is_enterprise_install": False,
            }  # fmt: skip
        channel = fields.get("channel", "")
        if channel in self.closed:
            return {"ok": False, "error": self.closed[channel]}
        if channel not in self.channels:
            return {"ok": False, "error": "channel_not_found"}
        if method == "conversations.history":
            return self._history(self.channels[channel], fields)
        if method == "conversations.replies":
            return self._replies(self.channels[channel], fields)
        if method == "chat.postMessage":
            ts = self.say(
                channel, fields["text"], user=fields.get("username", "U1"), thread=fields.get("thread_ts", "")
            )
            return {"ok": True, "channel": channel, "ts": ts, "message": self.channels[channel][ts]}
        return {"ok": False, "error": "unknown_method"}

    def _history(self, messages: dict[str, dict[str, Any]], fields: dict[str, str]) -> dict[str, Any]:
        """Newest first, without replies, except those that were sent to the channel too."""
        told = [
            one for one in messages.values()
            if one.get("thread_ts", one["ts"]) == one["ts"] or one.get("subtype") == "thread_broadcast"
        ]  # fmt: skip
        return self._paged(sorted(told, key=lambda one: -as_micros(one["ts"])), fields)

    def _replies(self, messages: dict[str, dict[str, Any]], fields: dict[str, str]) -> dict[str, Any]:
        """The parent, and then its replies, oldest first."""
        parent = messages.get(fields["ts"])
        if parent is None:
            return {"ok": False, "error": "thread_not_found"}
        replies = [one for one in messages.values() if one.get("thread_ts") == fields["ts"] != one["ts"]]
        answer = self._paged(sorted(replies, key=lambda one: as_micros(one["ts"])), fields)
        if answer["ok"] and not fields.get("cursor"):
            answer["messages"].insert(0, parent)
        return answer

    def _paged(self, messages: list[dict[str, Any]], fields: dict[str, str]) -> dict[str, Any]:
        oldest, latest = fields.get("oldest", "0.0"), fields.get("latest", "9999999999.0")
        is_inclusive = fields.get("inclusive") in ("1", "true")
        low, high = as_micros(oldest) - is_inclusive, as_micros(latest) + is_inclusive
        within = [one for one in messages if low < as_micros(one["ts"]) < high]
        limit = min(int(fields.get("limit", DEFAULT_PAGE)), self.page)
        try:
            start = _read_cursor(fields.get("cursor", ""), within)
        except ValueError:
            return {"ok": False, "error": "invalid_cursor"}
        shown, left = within[start : start + limit], within[start + limit :]
        cursor = base64.b64encode(f"next_ts:{left[0]['ts']}".encode()).decode() if left else ""
        more = {"response_metadata": {"next_cursor": cursor}} if left else {}
        return {"ok": True, "messages": list(shown), "has_more": bool(left), "pin_count": 0, **more}


def _order(ts: str) -> int:
    return as_micros(ts) if ts else -1


def _read_cursor(cursor: str, messages: list[dict[str, Any]]) -> int:
    if not cursor:
        return 0
    ts = base64.b64decode(cursor.encode(), validate=True).decode().removeprefix("next_ts:")
    return [one["ts"] for one in messages].index(ts)


def _limited(wait: str) -> web.Response:
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": wait})


def _failing(fault: dict[str, Any], request: web.Request) -> web.Response:
    match fault["kind"]:
        case "limit":
            return _limited(str(fault.get("retry_after", "1")))
        case "fail":
            return web.Response(status=fault.get("status", 502), text="<html>sorry</html>", content_type="text/html")
        case "garbage":
            return web.Response(text=fault.get("text", "{"), content_type="application/json")
        case "refuse":
            return web.json_response({"ok": False, "error": fault.get("error", "internal_error")})
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def main(arguments: argparse.Namespace) -> None:
    slack = await Slack(arguments.token, page=arguments.page, per_minute=arguments.per_minute).start(arguments.port)
    slack.channels["C1"] = {}
    urls = json.dumps({"slack": slack.url}, separators=(",", ":"))
    print(f"B3OS_PROVIDER_URLS='{urls}'   # botToken {slack.token}, channel C1, mention <@{BOT}>", flush=True)
    if arguments.plan:
        await slack.play(json.loads(arguments.plan.read_text()))
        print("plan done", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Slack workspace, locally.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--page", type=int, default=LARGEST_PAGE)
    parser.add_argument("--per-minute", type=int, default=50)
    parser.add_argument("--plan", type=Path)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
