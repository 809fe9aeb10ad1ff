"""Signatures of inbound calls: who signed the raw bytes, when, and what makes a repeated call the same one. Pure.

Every comparison takes constant time. A scheme that signs a time refuses a call more than WINDOW_S away from now, either
way. `identity` is made of signed content only: a header that nobody signed could be changed by whoever replays.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping

import msgspec

from b3os.errors import Unauthenticated

WINDOW_S = 300
MISSING, WRONG, LATE = 401010, 401011, 401012
#: More signatures than this in one header is no rotation.
MANY = 10


class Signed(msgspec.Struct, frozen=True):
    """What a scheme checks: the call as it came, the secret, and the clock."""

    headers: Mapping[str, str]
    body: bytes
    secret: str
    now_s: float

    def header(self, name: str) -> str:
        """Return a header that the scheme needs; raises Unauthenticated."""
        found = self.headers.get(name, "")
        if not found:
            raise Unauthenticated(f"the header {name} is missing: this address takes signed calls only", code=MISSING)
        return found


Check = Callable[[Signed], str]


def verify(scheme: str, call: Signed) -> str:
    """Return the identity of a call that is signed as it should be; raises Unauthenticated."""
    if not call.secret:
        raise Unauthenticated("no signing secret is stored: give the trigger's connector one", code=MISSING)
    return _SCHEMES[scheme](call)


def _mac(secret: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret, message, algorithm).digest()


def _must_match(expected: str, *given: str) -> None:
    wanted, is_right = expected.encode(), False
    for one in given[:MANY]:
        is_right |= hmac.compare_digest(wanted, one.encode("utf-8", "surrogateescape"))
    if not is_right:
        raise Unauthenticated("the signature does not match: compare the secrets of both sides", code=WRONG)


def _must_be_now(text: str, now_s: float) -> None:
    # str.isdigit also holds for digits of other scripts, which int would read.
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or abs(now_s - int(text)) > WINDOW_S:
        raise Unauthenticated(f"the call is not of the last {WINDOW_S} seconds: sign it anew", code=LATE)


def _content(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _parts(text: str) -> list[tuple[str, str]]:
    pairs = [part.strip().partition("=") for part in text.split(",")]
    return [(name, value) for name, _, value in pairs]


def _stamped(header: str) -> Check:
    """`t=<seconds>,v1=<hex>[,v1=<hex>]` over `t.body`: Stripe, Pipedream."""

    def check(call: Signed) -> str:
        parts = _parts(call.header(header))
        at = next((value for name, value in parts if name == "t"), "")
        _must_match(
            _mac(call.secret.encode(), f"{at}.".encode() + call.body).hex(),
            *(value for name, value in parts if name == "v1"),
        )
        _must_be_now(at, call.now_s)
        return _content(call.body)

    return check


def _hook0(call: Signed) -> str:
    """Coinbase: `t=,v0=` over `t.body`; with `h=` also `v1=` over `t.h.values.body`, which must hold if it is there."""
    parts = dict(_parts(call.header("x-hook0-signature")))
    at, names = parts.get("t", ""), parts.get("h", "")
    key = call.secret.encode()
    if "v1" in parts:
        values = ".".join(call.headers.get(name.lower(), "") for name in names.split(" "))
        _must_match(_mac(key, f"{at}.{names}.{values}.".encode() + call.body).hex(), parts["v1"])
    else:
        _must_match(_mac(key, f"{at}.".encode() + call.body).hex(), parts.get("v0", ""))
    _must_be_now(at, call.now_s)
    return _content(call.body)


def _shopify(call: Signed) -> str:
    given = call.header("x-shopify-hmac-sha256")
    _must_match(base64.b64encode(_mac(call.secret.encode(), call.body)).decode(), given)
    return _content(call.body)


def _github(call: Signed) -> str:
    given = call.header("x-hub-signature-256")
    _must_match("sha256=" + _mac(call.secret.encode(), call.body).hex(), given)
    return _content(call.body)


def _slack(call: Signed) -> str:
    at, given = call.header("x-slack-request-timestamp"), call.header("x-slack-signature")
    _must_match("v0=" + _mac(call.secret.encode(), f"v0:{at}:".encode() + call.body).hex(), given)
    _must_be_now(at, call.now_s)
    return _content(call.body)


def _standard(call: Signed) -> str:
    """Standard Webhooks: `v1,<base64>` of `id.timestamp.body`, several with spaces; the signed id is the identity."""
    name, at, given = (call.header(f"webhook-{part}") for part in ("id", "timestamp", "signature"))
    try:
        key = base64.b64decode(call.secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unauthenticated("the stored secret is not base64: copy it again, with its whsec_", code=WRONG) from error
    expected = base64.b64encode(_mac(key, f"{name}.{at}.".encode() + call.body)).decode()
    _must_match(f"v1,{expected}", *given.split(" "))
    _must_be_now(at, call.now_s)
    return name


def _telegram(call: Signed) -> str:
    """Telegram signs nothing: it sends the secret along, over TLS."""
    _must_match(call.secret, call.header("x-telegram-bot-api-secret-token"))
    return _content(call.body)


def _neynar(call: Signed) -> str:
    """Farcaster through Neynar: SHA-512."""
    _must_match(_mac(call.secret.encode(), call.body, "sha512").hex(), call.header("x-neynar-signature"))
    return _content(call.body)


_SCHEMES: dict[str, Check] = {
    "stripe": _stamped("stripe-signature"),
    "pipedream": _stamped("x-pd-signature"),
    "coinbase": _hook0,
    "shopify": _shopify,
    "github": _github,
    "slack": _slack,
    "standard": _standard,
    "telegram": _telegram,
    "farcaster": _neynar,
}
SCHEMES = tuple(sorted(_SCHEMES))
