"""send-webhook: reading its payload, what is secret in it, the signature, and when to try again. Pure.

The body is signed as it is sent: `x-b3os-signature` is the hexadecimal HMAC-SHA256 of its bytes under the
organization's webhook secret.
"""

import hashlib
import hmac
import re
from typing import Any

import msgspec

from b3os.errors import BadInput
from b3os.run.builtins.payloads import a_number, a_text, kind_of
from b3os.run.sizes import RESULT_LIMIT, encoded

SIGNATURE = "x-b3os-signature"
DELIVERY = "x-b3os-delivery"
MASK = "••••"
RETRIES_DEFAULT, RETRIES_MOST = 3, 10
HEADERS_MOST, HEADER_LENGTH = 50, 8192
BACKOFF_FACTOR = 4
BACKOFF_MOST_S = 6 * 3600.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_SENSITIVE = re.compile(r"auth|cookie|secret|token|key|password|signature|credential|session", re.IGNORECASE)
#: What belongs to the connection or to us.
_OURS = frozenset({SIGNATURE, DELIVERY, "host", "content-length", "transfer-encoding", "connection", "upgrade", "te",
                   "trailer", "expect", "keep-alive", "proxy-connection"})  # fmt: skip


class Webhook(msgspec.Struct, frozen=True):
    """A webhook to send; header names are in lower case, `secret_headers` are kept encrypted."""

    url: str
    headers: dict[str, str]
    secret_headers: dict[str, str]
    body: bytes
    max_retries: int


def parse_webhook(payload: dict[str, Any]) -> Webhook:
    """Read the payload of send-webhook; raises BadInput that names the field."""
    headers = _headers(payload.get("headers"))
    body = payload.get("body")
    data = body.encode(errors="replace") if isinstance(body, str) else encoded({} if body is None else body, "`body`")
    if len(data) > RESULT_LIMIT:
        raise BadInput(f"`body` has {len(data)} bytes, at most {RESULT_LIMIT} are sent", code=400361)
    headers.setdefault("content-type", "text/plain; charset=utf-8" if isinstance(body, str) else "application/json")
    return Webhook(
        url=a_text(payload, "url", code=400365).strip(),
        headers={name: value for name, value in headers.items() if not is_sensitive(name)},
        secret_headers={name: value for name, value in headers.items() if is_sensitive(name)},
        body=data,
        max_retries=a_number(
            payload, "maxRetries", default=RETRIES_DEFAULT, least=0, most=RETRIES_MOST, code=400365
        ),
    )  # fmt: skip


def _headers(raw: Any) -> dict[str, str]:
    if raw is None:
        return {}
    if not isinstance(raw, dict) or len(raw) > HEADERS_MOST:
        raise BadInput(f"`headers` is an object of at most {HEADERS_MOST} headers, not {kind_of(raw)}", code=400365)
    found: dict[str, str] = {}
    for name, value in raw.items():
        text = value if isinstance(value, str) else encoded(value, f"the header {name!r}").decode()
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise BadInput(f"the header {name[:100]!r} cannot be set: leave it out", code=400365)
        if len(text) > HEADER_LENGTH or any(ord(c) < 32 or ord(c) == 127 for c in text):
            raise BadInput(f"the header {name} has a line break, or over {HEADER_LENGTH} characters", code=400365)
        found[name.lower()] = text
    return found


def is_sensitive(name: str) -> bool:
    """Say whether a header's value is a secret, by its name."""
    return _SENSITIVE.search(name) is not None


def masked_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """Return headers with secret values hidden."""
    return {name: MASK if is_sensitive(name) else value for name, value in headers.items()}


def sign(secret: str, body: bytes) -> str:
    """Sign a body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def retry_delay_s(delivery_id: str, retry: int, first_s: float) -> float:
    """Return the wait before retry 1, 2, …: growing by 4, spread by a fifth so that a receiver's hosts do not beat."""
    spread = int.from_bytes(hashlib.sha256(f"{delivery_id}:{retry}".encode()).digest()[:4]) / 2**32
    grown: float = first_s * BACKOFF_FACTOR ** (retry - 1)
    return min(BACKOFF_MOST_S, grown) * (0.9 + 0.2 * spread)
