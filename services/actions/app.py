"""`POST /execute` for workers, plain ASGI. The protocol: docs/execute.md."""

import hmac
from typing import Any

import msgspec

from b3os import metrics
from b3os.actions.catalog import Catalog
from b3os.actions.execute import execute
from b3os.actions.spec import ActionContext, Chains, Operation
from b3os.actions.upstreams import Upstreams
from b3os.chain.signer import Signer
from b3os.errors import B3osError, BadInput, NotFound, TooLarge, Unauthenticated
from b3os.logs import bind
from b3os.net.http import GuardedClient
from services.actions.calls import Calls, Done, Key

BODY_LIMIT = 4 * 1024 * 1024

encode = msgspec.json.encode


class Call(msgspec.Struct, frozen=True, rename="camel"):
    """The body of `POST /execute`."""

    type: str
    inputs: Any
    org_id: str
    workflow_id: str = ""
    run_id: str = ""
    node_id: str = ""
    idempotency_key: str = ""
    credential: dict[str, Any] | None = None


class ActionsApp:
    """The ASGI application of one actions process."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        http: GuardedClient,
        upstreams: Upstreams,
        chains: Chains,
        signer: Signer | None,
        internal_key: str,
    ) -> None:
        self._catalog = catalog
        self._http = http
        self._upstreams = upstreams
        self._chains = chains
        self._signer = signer
        self._key = internal_key.encode()
        self._calls = Calls()

    async def drain(self, grace_s: float) -> None:
        """Let the calls in hand end, at most so long; what is late is answered 503, to be asked of another process."""
        await self._calls.drain(grace_s)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
            await respond(send, 200, answer)
        except B3osError as error:
            await respond(send, error.status, encode({"code": error.code, "message": error.message}))

    async def _answer(self, scope: Any, receive: Any) -> bytes:
        route = (scope["method"], scope["path"])
        if route == ("GET", "/healthz"):
            return encode({"status": "ok"})
        if route != ("POST", "/execute"):
            raise NotFound("POST /execute is what there is")
        given = dict(scope["headers"]).get(b"x-internal-key", b"")
        if not self._key or not hmac.compare_digest(given, self._key):
            raise Unauthenticated("the internal key is missing or wrong: set B3OS_INTERNAL_KEY on both sides")
        try:
            call = msgspec.json.decode(await read(receive), type=Call)
        except msgspec.DecodeError as error:
            raise BadInput(f"the body is not an execute call: {error}") from error
        bind(org=call.org_id, workflow=call.workflow_id, run=call.run_id, node=call.node_id)
        return await self._calls.answer(
            Key(call.org_id, call.type, call.idempotency_key), lambda: self._carry_out(call)
        )

    async def _carry_out(self, call: Call) -> Done:
        context = ActionContext(
            http=self._http,
            org_id=call.org_id,
            run_id=call.run_id,
            node_id=call.node_id,
            idempotency_key=call.idempotency_key,
            credential=call.credential or {},
            upstreams=self._upstreams,
            chains=self._chains,
            signer=self._signer,
        )
        result = await execute(self._catalog, call.type, call.inputs, context)
        metrics.ACTIONS.labels(call.type, (result.get("error") or {}).get("code", "")).inc()
        is_write = self._catalog.get(call.type).operation is Operation.WRITE
        return Done(encode(result), is_effect=is_write and result["success"])


async def read(receive: Any) -> bytes:
    """Read a body up to the limit."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"a call has at most {BODY_LIMIT} bytes")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


async def respond(send: Any, status: int, data: bytes) -> None:
    """Send one JSON answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
