"""Pipedream Connect with its proxy, and Gmail mailboxes behind it, over real HTTP.

By hand: `python -m tests.emulators.gmail --plan tests/emulators/plans/mailbox.json`; it prints what to set. A plan is
JSON: `{"loop": false, "steps": [...]}`, each step an object with one key:

    {"await": "/history"}                  wait until a path of Gmail is asked for (again)
    {"wait_s": 0.5}                        pause
    {"mail": {"subject": "hi", "text": "…", "labels": ["INBOX"], "from": "a@b.c"}}   receive a mail
    {"expire": true}                       forget the history up to now
    {"expire_token": true}                 refuse the access tokens that were given
    {"limit": {"path": "", "times": 1, "retry_after": "1"}}      answer 429 as Pipedream
    {"quota": {"path": "", "times": 1}}    answer 403 userRateLimitExceeded as Gmail
    {"fail": {"path": "", "times": 1, "status": 502}}            answer HTML with a status
    {"garbage": {"path": "", "times": 1, "text": "{"}}           answer 200 with something else than was asked for
    {"cut": {"path": "", "times": 1}}      close the connection without an answer
    {"revoke": true|false}                 refuse the account as Google does
"""

import argparse
import asyncio
import base64
import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

from aiohttp import web
from yarl import URL

from tests.emulators.serving import Served

PROJECT, CLIENT, SECRET = "proj_1", "client-1", "secret-1"
ACCOUNT = "apn_x1"
PAGE, LARGEST_PAGE = 100, 500
FAULTS = ("limit", "quota", "fail", "garbage", "cut")
#: Where the history of a mailbox begins.
FIRST_ID = 1000


def google(status: int, reason: str, message: str, name: str = "") -> web.Response:
    """An error as Google's APIs say it."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    body = {"error": {"code": status, "message": message, "errors": errors, **({"status": name} if name else {})}}
    return web.json_response(body, status=status)


class Box:
    """One mailbox: messages, and the history of what was added."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.messages: dict[str, dict[str, Any]] = {}
        #: (history id, message ids)
        self.records: list[tuple[int, list[str]]] = []
        self.at = self.kept_from = FIRST_ID
        self.is_revoked = False
        #: Messages that a search does not find yet.
        self.unsearchable: set[str] = set()

    def mail(
        self, subject: str = "hi", *, text: str = "hello", labels: list[str] | None = None,
        sender: str = "a@example.com", at_ms: int = 0,
    ) -> str:  # fmt: skip
        """Receive a mail; returns its id."""
        number = len(self.messages) + 1
        self.at += 7
        message_id = f"{0x18C0000000 + number:x}"
        body = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        headers = {"From": sender, "To": "me@example.com", "Subject": subject, "Message-ID": f"<{number}@example.com>"}
        self.messages[message_id] = {
            "id": message_id,
            "threadId": message_id,
            "labelIds": ["INBOX", "UNREAD"] if labels is None else labels,
            "snippet": text[:100],
            "historyId": str(self.at),
            "internalDate": str(at_ms or time.time_ns() // 10**6),
            "sizeEstimate": len(text) + 300,
            "payload": {
                "partId": "",
                "mimeType": "multipart/alternative",
                "filename": "",
                "headers": [{"name": name, "value": value} for name, value in headers.items()],
                "body": {"size": 0},
                "parts": [
                    {"partId": "0", "mimeType": "text/plain", "filename": "", "headers": [],
                     "body": {"size": len(text), "data": body}},
                    {"partId": "1", "mimeType": "text/html", "filename": "", "headers": [],
                     "body": {"size": 3, "data": "PGI-"}},
                ],
            },
        }  # fmt: skip
        self.records.append((self.at, [message_id]))
        return message_id

    def join_records(self, count: int) -> None:
        """Put the messages of the last records into one."""
        ids = [one for _, found in self.records[-count:] for one in found]
        self.records[-count:] = [(self.at, ids)]

    def expire(self) -> None:
        """Forget the history up to now."""
        self.kept_from = self.at + 1
        self.at += 10

    def answer(self, path: str, query: dict[str, list[str]], page: int) -> web.Response:
        if self.is_revoked:
            return google(401, "authError", "Invalid Credentials", "UNAUTHENTICATED")
        if path == "/profile":
            total = len(self.messages)
            return web.json_response(
                {
                    "emailAddress": "me@example.com",
                    "messagesTotal": total,
                    "threadsTotal": total,
                    "historyId": str(self.at),
                }
            )
        if path == "/history":
            return self._history(query, page)
        if path == "/messages":
            return self._list(query, page)
        found = self.messages.get(path.removeprefix("/messages/"))
        if found is None:
            return google(404, "notFound", "Requested entity was not found.", "NOT_FOUND")
        is_minimal = query.get("format") == ["minimal"]
        return web.json_response({k: v for k, v in found.items() if not (is_minimal and k == "payload")})

    def _history(self, query: dict[str, list[str]], page: int) -> web.Response:
        start = int(query["startHistoryId"][0])
        if start < self.kept_from:
            return google(404, "notFound", "Requested entity was not found.", "NOT_FOUND")
        records = [self._record(number, ids) for number, ids in self.records if number > start]
        shown, more = _page(records, query, page)
        return web.json_response({**({"history": shown} if shown else {}), **more, "historyId": str(self.at)})

    def _record(self, number: int, ids: list[str]) -> dict[str, Any]:
        """A record names messages that may be deleted by now."""
        plain = [{"id": one, "threadId": one} for one in ids]
        labelled = [{**one, "labelIds": self.messages.get(one["id"], {}).get("labelIds", [])} for one in plain]
        return {"id": str(number), "messages": plain, "messagesAdded": [{"message": one} for one in labelled]}

    def _list(self, query: dict[str, list[str]], page: int) -> web.Response:
        asked = query.get("q", [""])[0]
        found = [one for one in self.messages.values() if self._is_found(one, asked)]
        found.sort(key=lambda one: -int(one["internalDate"]))
        shown, more = _page([{"id": one["id"], "threadId": one["threadId"]} for one in found], query, page)
        messages = {"messages": shown} if shown else {}
        return web.json_response({**messages, **more, "resultSizeEstimate": len(found)})

    def _is_found(self, message: dict[str, Any], asked: str) -> bool:
        """What `after:`, `from:`, `subject:` and plain words find; spam and trash are left out."""
        if {"SPAM", "TRASH"} & set(message["labelIds"]):
            return False
        headers = {one["name"].lower(): one["value"].lower() for one in message["payload"]["headers"]}
        for word in re.findall(r"[^\s()]+", asked.lower()):
            name, has_name, value = word.partition(":")
            if has_name and name == "after":
                is_so = int(message["internalDate"]) // 1000 >= int(value)
            elif has_name:
                is_so = value in headers.get(name, "")
            else:
                is_so = word in f"{headers['subject']} {message['snippet'].lower()}"
            if not is_so or (name != "after" and message["id"] in self.unsearchable):
                return False
        return True


def _page(items: list[Any], query: dict[str, list[str]], page: int) -> tuple[list[Any], dict[str, str]]:
    limit = min(int(query.get("maxResults", [str(PAGE)])[0]), LARGEST_PAGE, page)
    start = int(query.get("pageToken", ["0"])[0])
    more = {"nextPageToken": str(start + limit)} if start + limit < len(items) else {}
    return items[start : start + limit], more


class Pipedream(Served):
    """The service. `calls` has every call of Gmail: path and query; `page` caps what a page holds."""

    def __init__(self, *, page: int = LARGEST_PAGE, token_s: int = 3600) -> None:
        self.page = page
        self.token_s = token_s
        self.url = ""
        self.boxes: dict[str, Box] = {}
        self.calls: list[tuple[str, dict[str, list[str]]]] = []
        self.logins = 0
        self.secret = SECRET
        self.news = asyncio.Event()
        self._tokens: set[str] = set()
        self._faults: list[dict[str, Any]] = []

    async def start(self, port: int = 0) -> "Pipedream":
        proxy = web.get("/v1/connect/{project}/proxy/{target}", self._proxy)
        self.url = f"http://{await self.listen(port, [web.post('/v1/oauth/token', self._login), proxy])}"
        return self

    def connect(self, owner: str, account: str = ACCOUNT) -> Box:
        """Let an external user connect a mailbox."""
        self.boxes[account] = Box(owner)
        return self.boxes[account]

    def expire_tokens(self) -> None:
        """Refuse the tokens that were given, however long they promised to last."""
        self._tokens.clear()

    def fault(self, kind: str, *, path: str = "", times: int = 1, **more: Any) -> None:
        """Fail the next calls of a path of Gmail (any, if empty) in a way of FAULTS."""
        assert kind in FAULTS
        self._faults.append({"kind": kind, "path": path, "times": times, **more})

    def called(self, path: str) -> list[dict[str, list[str]]]:
        return [query for called, query in self.calls if called.startswith(path)]

    async def play(self, plan: dict[str, Any], box: Box) -> None:
        """Carry a plan out on one mailbox."""
        while True:
            for step in plan["steps"]:
                ((act, value),) = step.items()
                await self._act(act, value, box)
            if not plan.get("loop"):
                return

    async def _act(self, act: str, value: Any, box: Box) -> None:
        match act:
            case "await":
                before = len(self.called(value))
                while len(self.called(value)) == before:
                    self.news.clear()
                    await self.news.wait()
            case "wait_s":
                await asyncio.sleep(value)
            case "mail":
                sender = value.get("from", "a@example.com")
                box.mail(
                    value.get("subject", "hi"), text=value.get("text", ""), labels=value.get("labels"), sender=sender
                )
            case "expire":
                box.expire()
            case "expire_token":
                self.expire_tokens()
            case "revoke":
                box.is_revoked = value
            case _ if act in FAULTS:
                self.fault(act, **value)
            case _:
                raise ValueError(f"a plan has no step {act!r}")

    async def _login(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.logins += 1
        if (asked["grant_type"], asked["client_id"], asked["client_secret"]) != (
            "client_credentials",
            CLIENT,
            self.secret,
        ):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = f"pd-{self.logins}"
        self._tokens.add(token)
        body = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.token_s,
            "created_at": int(time.time()),
        }
        return web.json_response(body)

    async def _proxy(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        coded = request.match_info["target"]
        target = URL(base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode())
        if target.host != "gmail.googleapis.com":
            return web.json_response({"error": "domain is not allowed"}, status=400)
        path = target.path.removeprefix("/gmail/v1/users/me")
        query = {name: target.query.getall(name) for name in target.query}
        self.calls.append((path, query))
        self.news.set()
        box = self.boxes[request.query["account_id"]]
        return self._broken(path, request) or box.answer(path, query, self.page)

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What Pipedream itself refuses."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens:
            return web.json_response({"error": "unauthorized"}, status=401)
        if request.headers.get("x-pd-environment") not in ("development", "production"):
            return web.json_response({"error": "environment is missing"}, status=400)
        box = self.boxes.get(request.query["account_id"])
        owner = request.query["external_user_id"]
        is_known = request.match_info["project"] == PROJECT and box and box.owner in ("*", owner)
        return None if is_known else web.json_response({"error": "record not found"}, status=404)

    def _broken(self, path: str, request: web.Request) -> web.Response | None:
        for fault in self._faults:
            if fault["times"] > 0 and path.startswith(fault["path"]):
                fault["times"] -= 1
                return _failing(fault, request)
        return None


def _failing(fault: dict[str, Any], request: web.Request) -> web.Response:
    match fault["kind"]:
        case "limit":
            wait = {"Retry-After": str(fault.get("retry_after", "1"))}
            return web.json_response({"error": "rate limit exceeded"}, status=429, headers=wait)
        case "quota":
            return google(403, "userRateLimitExceeded", "User Rate Limit Exceeded")
        case "fail":
            return web.Response(status=fault.get("status", 502), text="<html>sorry</html>", content_type="text/html")
        case "garbage":
            return web.Response(text=fault.get("text", "{"), content_type="application/json")
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def main(arguments: argparse.Namespace) -> None:
    pipedream = await Pipedream(page=arguments.page).start(arguments.port)
    box = pipedream.connect(arguments.owner)
    urls = json.dumps({"pipedream": pipedream.url}, separators=(",", ":"))
    print(
        f"B3OS_PROVIDER_URLS='{urls}' B3OS_PIPEDREAM_PROJECT={PROJECT} B3OS_PIPEDREAM_CLIENT_ID={CLIENT} "
        f"B3OS_PIPEDREAM_CLIENT_SECRET={SECRET}   # accountId {ACCOUNT}",
        flush=True,
    )
    if arguments.plan:
        await pipedream.play(json.loads(arguments.plan.read_text()), box)
        print("plan done", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pipedream and a Gmail mailbox, locally.")
    parser.add_argument("--owner", default="*", help="id of the organization that connected the mailbox; *: any")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--page", type=int, default=LARGEST_PAGE)
    parser.add_argument("--plan", type=Path)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
