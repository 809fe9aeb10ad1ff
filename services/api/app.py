"""The API on one screen: the route table, with what each route demands, and the ASGI application."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from b3os import metrics
from b3os.auth.principal import principal_of
from b3os.errors import Forbidden, NotFound, Unauthenticated
from b3os.inbound.forms import ADDRESS, ORG_ADDRESS, PROVIDER_ADDRESS
from b3os.logs import bind
from b3os.wire import Bare, explained, read_incoming, send_failure, send_json, success
from services.api import (
    catalogs,
    connectors,
    databases,
    deliveries,
    health,
    hooks,
    identity,
    run_again,
    runs,
    schedules,
    sources,
    trying,
    watch,
    webhooks,
    workflows,
)
from services.api.house import House
from services.api.limits import RateLimit
from services.api.streams import stream
from services.api.uses import KeyUses
from services.api.wire import Request

log = logging.getLogger("b3os.api")

Handler = Callable[[House, Request], Awaitable[Any]]
Stream = Callable[[House, Request, Any, Any], Awaitable[None]]

#: What a caller must have: nothing, a key if one is sent, any key, a read-write key.
ANYONE, MAYBE, READ, WRITE = "anyone", "maybe", "read", "write"
#: The code of a route whose answer has no envelope.
BARE = -1


class Route(msgspec.Struct, frozen=True):
    """One line of the authorisation table; a route has a handler that answers once, or a stream."""

    method: str
    path: str
    need: str
    handler: Handler | None
    code: int = 200
    stream: Stream | None = None


ROUTES = (
    Route("GET", "/healthz", ANYONE, catalogs.healthz),
    Route("GET", "/readyz", ANYONE, catalogs.readyz),
    Route("GET", "/openapi.json", ANYONE, catalogs.openapi, code=BARE),
    Route("POST", "/v1/bootstrap", ANYONE, identity.bootstrap, code=0),
    Route("GET", "/v1/whoami", READ, identity.whoami),
    Route("GET", "/v1/organizations", READ, identity.organizations),
    Route("GET", "/v1/organizations/{id}", READ, identity.organization),
    Route("PUT", "/v1/organizations/{id}", WRITE, identity.update_organization),
    Route("GET", "/v1/orgs/{org}/members", READ, identity.members),
    Route("GET", "/v1/api-keys", READ, identity.keys),
    Route("POST", "/v1/api-keys", WRITE, identity.create_key),
    Route("GET", "/v1/api-keys/{id}", READ, identity.key),
    Route("DELETE", "/v1/api-keys/{id}", WRITE, identity.revoke_key),
    Route("POST", "/v1/workflows", WRITE, workflows.create),
    Route("GET", "/v1/workflows", READ, workflows.many),
    Route("POST", "/v1/workflows/validate", READ, workflows.check),
    Route("GET", "/v1/workflows/{id}", READ, workflows.get),
    Route("PUT", "/v1/workflows/{id}", WRITE, workflows.update),
    Route("DELETE", "/v1/workflows/{id}", WRITE, workflows.archive),
    Route("POST", "/v1/workflows/{id}/publish", WRITE, workflows.publish),
    Route("POST", "/v1/workflows/{id}/pause", WRITE, workflows.pause),
    Route("POST", "/v1/workflows/{id}/resume", WRITE, workflows.resume),
    Route("POST", "/v1/workflows/{id}/unarchive", WRITE, workflows.unarchive),
    Route("POST", "/v1/workflows/{id}/refill", WRITE, workflows.refill),
    Route("GET", "/v1/workflows/{id}/versions", READ, workflows.versions),
    Route("GET", "/v1/workflows/{id}/schedule", READ, schedules.get),
    Route("POST", "/v1/workflows/{id}/rollback", WRITE, workflows.rollback),
    Route("POST", "/v1/workflows/{id}/run", WRITE, runs.start),
    Route("GET", "/v1/runs", READ, runs.many),
    Route("GET", "/v1/runs/{id}", READ, runs.get),
    Route("GET", "/v1/runs/{id}/stream", READ, None, stream=stream),
    Route("GET", "/v1/workflows/{id}/runs/stream", READ, None, stream=watch.of_workflow),
    Route("GET", "/v1/workflow-runs/stream", READ, None, stream=watch.of_workflows),
    Route("GET", "/v1/activity/stream", READ, None, stream=watch.activity),
    Route("POST", "/v1/runs/{id}/cancel", WRITE, runs.cancel),
    Route("POST", "/v1/runs/{id}/retry", WRITE, run_again.retry),
    Route("GET", "/v1/runs/{id}/why", READ, run_again.why),
    Route("POST", "/v1/runs/{id}/nodes/{node}/resume", MAYBE, runs.resume),
    Route("POST", ADDRESS, ANYONE, webhooks.webhook),
    Route("POST", ORG_ADDRESS, ANYONE, webhooks.org_webhook),
    Route("POST", PROVIDER_ADDRESS, ANYONE, webhooks.provider),
    Route("GET", "/v1/workflows/{id}/webhook-calls", READ, webhooks.calls),
    Route("POST", "/v1/workflows/{id}/webhook-calls/{call}/replay", WRITE, webhooks.replay),
    Route("POST", "/v1/workflows/{id}/rotate-secret", WRITE, webhooks.rotate),
    Route("GET", "/v1/actions", ANYONE, catalogs.actions),
    Route("GET", "/v1/actions/{type}", ANYONE, catalogs.action),
    Route("GET", "/v1/triggers", ANYONE, catalogs.triggers),
    Route("GET", "/v1/triggers/{type}", ANYONE, catalogs.trigger),
    Route("POST", "/v1/triggers/{type}/test", READ, trying.test),
    Route("POST", "/v1/triggers/{type}/backtest", READ, trying.backtest),
    Route("GET", "/v1/logic-actions", ANYONE, catalogs.logic_actions),
    Route("GET", "/v1/connector-types", ANYONE, connectors.types),
    Route("GET", "/v1/connector-types/{type}", ANYONE, connectors.type_),
    Route("GET", "/v1/connectors", READ, connectors.many),
    Route("POST", "/v1/connectors", WRITE, connectors.create),
    Route("GET", "/v1/connectors/{id}", READ, connectors.get),
    Route("PUT", "/v1/connectors/{id}", WRITE, connectors.update),
    Route("DELETE", "/v1/connectors/{id}", WRITE, connectors.remove),
    Route("GET", "/v1/outbound-webhook/deliveries", READ, deliveries.many),
    Route("GET", "/v1/outbound-webhook/deliveries/{id}", READ, deliveries.get),
    Route("POST", "/v1/outbound-webhook/deliveries/{id}/replay", WRITE, deliveries.replay),
    Route("POST", "/v1/outbound-webhook/deliveries/{id}/retry", WRITE, deliveries.retry),
    Route("GET", "/v1/execution-webhooks", READ, hooks.many),
    Route("POST", "/v1/execution-webhooks", WRITE, hooks.create),
    Route("GET", "/v1/execution-webhooks/{id}", READ, hooks.get),
    Route("POST", "/v1/execution-webhooks/{id}/disable", WRITE, hooks.disable),
    Route("POST", "/v1/execution-webhooks/{id}/enable", WRITE, hooks.enable),
    Route("POST", "/v1/execution-webhooks/{id}/regenerate-secret", WRITE, hooks.regenerate_secret),
    Route("GET", "/v1/execution-webhooks/deliveries", READ, deliveries.many_of_hooks),
    Route("GET", "/v1/execution-webhooks/deliveries/{id}", READ, deliveries.get),
    Route("POST", "/v1/execution-webhooks/deliveries/{id}/replay", WRITE, deliveries.replay),
    Route("POST", "/v1/execution-webhooks/deliveries/{id}/retry", WRITE, deliveries.retry),
    Route("GET", "/v1/organizations/{org}/database/tables", READ, databases.tables),
    Route("GET", "/v1/organizations/{org}/database/tables/{table}", READ, databases.columns),
    Route("POST", "/v1/organizations/{org}/database/query", READ, databases.query),
    Route("GET", "/v1/chains", READ, sources.chains),
    Route("GET", "/v1/sources", READ, sources.sources),
    Route("GET", "/v1/health/checks", READ, health.checks),
    Route("GET", "/v1/health/checks/{id}", READ, health.check),
)


#: Routes by method and number of segments, those with fewer parameters first.
_BY_SHAPE: dict[tuple[str, int], list[tuple[list[str], Route]]] = {}
for _route in sorted(ROUTES, key=lambda route: route.path.count("{")):
    _segments = _route.path.split("/")
    _BY_SHAPE.setdefault((_route.method, len(_segments)), []).append((_segments, _route))


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route of a request and its path parameters; raises NotFound."""
    parts = path.rstrip("/").split("/")
    for segments, route in _BY_SHAPE.get((method, len(parts)), ()):
        params: dict[str, str] = {}
        for want, part in zip(segments, parts, strict=True):
            if want.startswith("{"):
                params[want[1:-1]] = part
            elif want != part:
                break
        else:
            return route, params
    raise NotFound(f"no route {method} {path}")


class Answered:
    """Sends for the application, and knows the status that was sent."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Any) -> None:
        """Pass one message on."""
        self.status = message.get("status", self.status)
        await self._send(message)


class Api:
    """The ASGI application."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._limit = RateLimit(house.settings.rate_limit)
        self._uses = KeyUses(house)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; every error of ours is an envelope with a stable code."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics":
            await self._metrics(send)
            return
        began, answered = time.perf_counter(), Answered(send)
        route: Route | None = None
        try:
            route, params = find_route(scope["method"], scope["path"])
            request = await read_incoming(scope, receive, Request)
            request.params = params
            await self._authorise(route, request)
            if route.method != "GET" and route.need != ANYONE:
                request.fields()  # a route that reads no body refuses a malformed one too
            if route.stream is not None:
                await route.stream(self._house, request, receive, answered)
                return
            assert route.handler is not None, "a route answers or streams"
            data = await route.handler(self._house, request)
        except Exception as error:
            await send_failure(answered, explained(error, route.path if route else "none"))
        else:
            if isinstance(data, Bare):
                await send_json(answered, 200, data.value)
            else:
                await send_json(answered, 200, data if route.code == BARE else success(data, route.code))
        finally:
            # Only our own words become labels: a client must not be able to make new ones.
            path, method = (route.path, route.method) if route else ("none", "none")
            metrics.HTTP_REQUESTS.labels(path, method, str(answered.status)).inc()
            if route is None or route.handler is not None:
                metrics.HTTP_SECONDS.labels(path).observe(time.perf_counter() - began)

    async def _authorise(self, route: Route, request: Request) -> None:
        header = request.headers.get("authorization", "")
        if route.need == ANYONE or (route.need == MAYBE and not header):
            return
        if not header:
            raise Unauthenticated("an API key is needed: send Authorization: Bearer b3sk_...")
        request.principal = await principal_of(self._house.pool, header)
        self._limit.take(request.org_id, time.monotonic())
        bind(org=request.org_id)
        await self._uses.note(request, time.monotonic())
        if route.need in (WRITE, MAYBE) and request.principal.scope != "read-write":
            raise Forbidden("this key may only read: use a read-write key")

    async def _metrics(self, send: Any) -> None:
        body, kind = metrics.exposition()
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
