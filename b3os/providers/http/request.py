"""http-request: one request through the guard."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from b3os.actions.spec import ActionContext, ActionSpec, HealthProbe, Operation
from b3os.errors import ActionFailed


class RequestPayload(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of http-request."""

    url: Annotated[str, Meta(description="Public http or https address")]
    method: Annotated[str, Meta(description="GET, POST, PUT, PATCH, DELETE or HEAD", pattern="^[A-Z]{3,7}$")] = "GET"
    headers: Annotated[dict[str, str], Meta(description="Request headers")] = {}
    body: Annotated[Any, Meta(description="A string as it is; anything else as JSON")] = None
    timeout: Annotated[int, Meta(description="Milliseconds to wait", ge=100, le=30_000)] = 30_000
    max_response_size: Annotated[int, Meta(description="Bytes of the answer at most", ge=1, le=5_242_880)] = 5_242_880
    fail_on_error: Annotated[bool, Meta(description="Whether a status of 400 or more fails the node")] = True


class RequestResult(msgspec.Struct, frozen=True, rename="camel"):
    """Result of http-request."""

    status: Annotated[int, Meta(description="HTTP status")]
    status_text: Annotated[str, Meta(description="The status in words")]
    headers: Annotated[dict[str, str], Meta(description="Answer headers, names in lower case")]
    body: Annotated[str, Meta(description="The answer as text")]
    content_type: Annotated[str, Meta(description="Content type of the answer; empty when it says none")]
    json: Annotated[Any, Meta(description="The answer decoded, where it is JSON; else null")] = None


async def run(payload: RequestPayload, context: ActionContext) -> RequestResult:
    """Send the request; a failing status is an error with its category."""
    headers = dict(payload.headers)
    body: bytes | None = None
    if isinstance(payload.body, str):
        body = payload.body.encode()
    elif payload.body is not None:
        body = msgspec.json.encode(payload.body)
        headers.setdefault("content-type", "application/json")
    if context.idempotency_key and payload.method not in ("GET", "HEAD"):
        headers.setdefault("idempotency-key", context.idempotency_key)
    answer = await context.http.request(
        payload.method, payload.url, headers=headers, body=body, timeout_s=payload.timeout / 1000,
        max_bytes=payload.max_response_size,
    )  # fmt: skip
    if answer.status >= 400 and payload.fail_on_error:
        raise ActionFailed(
            f"the server answered {answer.status}",
            error_code="API_ERROR",
            category="auth" if answer.status in (401, 403) else "service",
            remediation="check address, headers and credentials" if answer.status < 500 else "try again later",
            retryable=answer.status == 429 or answer.status >= 500,
        )
    kind = answer.headers.get("content-type", "")
    text = answer.body.decode("utf-8", "replace")
    return RequestResult(answer.status, words_of(answer.status), answer.headers, text, kind, decoded(answer.body))


def words_of(status: int) -> str:
    """Return the phrase of a status; empty for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def decoded(body: bytes) -> Any:
    """Return JSON where it is JSON, else None."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


REQUEST = ActionSpec(
    type="http-request",
    title="HTTP request",
    description="Send an HTTP request to a public server.",
    payload=RequestPayload,
    result=RequestResult,
    operation=Operation.WRITE,
    category="utility",
    run=run,
    health=HealthProbe(waived="calls whatever address its workflow names"),
    tags=("http",),
)
