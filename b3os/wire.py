"""How services answer callers from outside: a request with its body read, an answer in the envelope."""

import logging
import math
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

import asyncpg
import msgspec

from b3os.errors import B3osError, BadInput, TooLarge, TooMany, Unavailable
from b3os.ids import new_id

log = logging.getLogger("b3os.wire")

BODY_LIMIT = 1024 * 1024
#: What a database raises that is gone, starts, stops or is full.
UNREACHABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
    TimeoutError,
)
_encode = msgspec.json.Encoder().encode


class Incoming(msgspec.Struct, kw_only=True):
    """One request, its body read."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    client: str = ""
    decoded: Any = msgspec.UNSET

    def json(self) -> Any:
        """Decode the body, once; an empty one is {}. Raises BadInput with the place."""
        if self.decoded is not msgspec.UNSET:
            return self.decoded
        try:
            self.decoded = msgspec.json.decode(self.body) if self.body.strip() else {}
            return self.decoded
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadInput(f"the body is not JSON: {error}") from error

    def fields(self) -> dict[str, Any]:
        """Decode the body as an object."""
        found = self.json()
        if not isinstance(found, dict):
            raise BadInput("the body is a JSON object")
        return found

    def first(self, name: str, default: str = "") -> str:
        """Return a query parameter's first value."""
        return self.query.get(name, [default])[0]


IncomingT = TypeVar("IncomingT", bound=Incoming)


class Bare(msgspec.Struct, frozen=True):
    """An answer that leaves its envelope out, since a service outside expects it so."""

    value: Any


async def read_incoming(scope: Any, receive: Any, kind: type[IncomingT]) -> IncomingT:
    """Read a request up to the body limit; raises TooLarge, and BadInput for a body that was cut off: it says something
    else than was meant.
    """
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the connection was lost before the whole body came: send it again")
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise TooLarge(f"a body has at most {BODY_LIMIT} bytes")
        if not message.get("more_body"):
            break
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    if not all(map(_is_text, (scope["path"], *(value for values in query.values() for value in values)))):
        raise BadInput("an address is UTF-8 without U+0000: correct its percent-encoding", code=400411)
    return kind(
        method=scope["method"],
        path=scope["path"],
        query=query,
        headers=headers,
        body=bytes(body),
        client=str((scope.get("client") or [""])[0]),
    )


def _is_text(value: str) -> bool:
    """Say whether the store can hold this: no U+0000, no half of a surrogate pair."""
    return "\x00" not in value and (value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value))


async def send_json(send: Any, status: int, body: Any, *more: tuple[bytes, bytes]) -> None:
    """Send one JSON answer, with more headers if there are any."""
    data = _encode(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def success(data: Any, code: int = 200) -> dict[str, Any]:
    """Wrap data in the envelope."""
    return {"code": code, "message": "success", "data": data, "requestId": new_id("req")}


async def send_failure(send: Any, error: B3osError) -> None:
    """Send an error; one that is over with time says when."""
    more = [(b"retry-after", str(math.ceil(error.retry_after_s)).encode())] if isinstance(error, TooMany) else []
    await send_json(send, error.status, failure(error), *more)


def failure(error: B3osError) -> dict[str, Any]:
    """Wrap an error in the envelope."""
    return {"code": error.code, "message": error.message, "details": error.details, "requestId": new_id("req")}


def explained(error: Exception, form: str) -> B3osError:
    """Return what a caller is told of an error; what is our fault is logged.

    `form` is the path as routes write it: the path itself may hold the secret of an address.
    """
    if isinstance(error, B3osError):
        return error
    if isinstance(error, UNREACHABLE):
        log.warning("database unreachable", extra={"error": str(error)})
        return Unavailable("the database cannot be reached: try again shortly")
    log.exception("request failed", extra={"path": form}, exc_info=error)
    return B3osError("this is our fault and it is logged: try again")
