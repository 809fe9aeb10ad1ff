"""A client of the API, or of a master's listener, that calls its ASGI application as a server would."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec


class Client:
    """Calls the ASGI application as a server would."""

    def __init__(self, api: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._api = api
        self.keys: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        self.headers: dict[bytes, bytes] = {}

    async def call(
        self,
        method: str,
        path: str,
        key: str = "",
        body: Any = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        is_cut: bool = False,
    ) -> tuple[int, Any]:
        """One call with a JSON body, or a raw one, perhaps cut off behind it; returns status and answer."""
        sending = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if key:
            sending += [(b"authorization", f"Bearer {key}".encode()), (b"user-agent", b"test")]
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": sending,
                 "client": ("127.0.0.1", 9)}  # fmt: skip
        sent: list[dict[str, Any]] = []
        text = raw if raw is not None else (msgspec.json.encode(body) if body is not None else b"")
        incoming = iter([{"type": "http.request", "body": text, "more_body": is_cut}])

        async def receive() -> dict[str, Any]:
            return next(incoming, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._api(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in sent[1:])
        self.headers = dict(sent[0]["headers"])
        is_json = self.headers[b"content-type"] == b"application/json"
        return sent[0]["status"], msgspec.json.decode(text) if is_json else text.decode()
