"""The master's own listener for inbound calls, beside the API's routes: same addresses, same answers, one desk.

For installations that keep what the world may call apart from what users call: only these addresses are behind it.
"""

import time
from typing import Any

from b3os import metrics
from b3os.errors import NotFound
from b3os.inbound.forms import ADDRESS, ORG_ADDRESS, PROVIDER_ADDRESS, Desk
from b3os.wire import Bare, Incoming, explained, read_incoming, send_failure, send_json, success


class Listener:
    """The ASGI application."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            return
        began, form, status = time.perf_counter(), "none", 200
        try:
            form, params = form_of(scope["method"], scope["path"])
            request = await read_incoming(scope, receive, Incoming)
            found = await self._answer(form, params, request)
        except Exception as error:
            told = explained(error, form)
            status = told.status
            await send_failure(send, told)
        else:
            await send_json(send, 200, found.value if isinstance(found, Bare) else success(found))
        finally:
            metrics.HTTP_REQUESTS.labels(form, "POST" if form != "none" else "none", str(status)).inc()
            metrics.HTTP_SECONDS.labels(form).observe(time.perf_counter() - began)

    async def _answer(self, form: str, params: list[str], request: Incoming) -> Any:
        if form == ADDRESS:
            return await self._desk.by_secret(request, *params)
        if form == ORG_ADDRESS:
            return await self._desk.by_organization(request, *params)
        return await self._desk.by_provider(request, *params)


def form_of(method: str, path: str) -> tuple[str, list[str]]:
    """Return which form of address a path has, and its parameters; raises NotFound."""
    parts = path.rstrip("/").split("/")
    for form in (ADDRESS, ORG_ADDRESS, PROVIDER_ADDRESS) if method == "POST" else ():
        pairs = list(zip(form.split("/"), parts, strict=False))
        if len(form.split("/")) == len(parts) and all(want == part or want[:1] == "{" for want, part in pairs):
            return form, [part for want, part in pairs if want[:1] == "{"]
    raise NotFound(f"no route {method} {path}")
