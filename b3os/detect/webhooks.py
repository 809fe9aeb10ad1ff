"""Triggers over the webhook path: which signature a call must have, which calls fire, and what the run sees. Pure.

A trigger of a provider needs a secret: without one it cannot be published, so that nothing unsigned ever fires it. Its
events have an identity of their own (the payment, the order, the cast), signed with the rest of the body; a repeat of
the provider therefore finds the run that there is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from b3os.detect.signatures import SCHEMES
from b3os.errors import BadInput

SECRET_NEEDED, BAD_SCHEME, BAD_FILTER = 400430, 400431, 400432
#: Headers that a workflow never sees: they are credentials.
HIDDEN_HEADERS = frozenset({"authorization", "cookie", "x-api-key", "x-telegram-bot-api-secret-token"})
#: What a provider's trigger may be restricted to.
FILTER_LIMIT = 100


class Occurrence(msgspec.Struct, frozen=True):
    """An event that a call tells of: its identity (empty: the call's own) and the members of its result."""

    identity: str
    members: dict[str, Any]


class WebhookWatch(msgspec.Struct, frozen=True):
    """How calls of a trigger are checked; `scheme` is empty where the secret of the address is all there is."""

    kind: str
    scheme: str = ""
    secret: str = ""
    connector_id: str = ""
    filters: dict[str, frozenset[str]] = {}


#: Reads a provider's body; None when the call is none of the trigger's.
Reader = Callable[[Mapping[str, Any], Mapping[str, str], WebhookWatch], Occurrence | None]


class Inbound(msgspec.Struct, frozen=True):
    """A provider's trigger type: its scheme, the payload members that filter, and how a body is read."""

    provider: str
    filters: tuple[str, ...]
    read: Reader


def parse_webhook(kind: str, payload: Mapping[str, Any]) -> WebhookWatch:
    """Read a trigger's payload; raises BadInput."""
    inbound = INBOUND.get(kind)
    # Other types may have a `signature` that means something else: that of an event of a contract.
    scheme = inbound.provider if inbound else payload.get("signature", "") if kind == "webhook" else ""
    if scheme and scheme not in SCHEMES:
        raise BadInput(f"`signature` is one of {', '.join(SCHEMES)}, or absent", code=BAD_SCHEME)
    connector, secret = payload.get("connector") or {}, payload.get("signingSecret") or ""
    connector_id = connector.get("id", "") if isinstance(connector, dict) else ""
    if not isinstance(secret, str) or (scheme and not secret and not connector_id):
        raise BadInput(
            f"{kind} needs the secret that its calls are signed with: choose a connector of type webhook-secret",
            code=SECRET_NEEDED,
        )
    filters = {name: _texts(name, payload[name]) for name in (inbound.filters if inbound else ()) if payload.get(name)}
    return WebhookWatch(kind, scheme, secret, connector_id, filters)


def read_call(watch: WebhookWatch, body: Any, headers: Mapping[str, str]) -> Occurrence | None:
    """Return what a checked call tells of; None when it is none of the trigger's."""
    inbound = INBOUND.get(watch.kind)
    if inbound is None:
        return Occurrence("", {})
    return inbound.read(body, headers, watch) if isinstance(body, dict) else None


def webhook_result(body: Any, headers: Mapping[str, str], triggered_at: str) -> dict[str, Any]:
    """Make the result of a webhook or manual trigger: the body's keys on top, and the whole under `body`."""
    merged = dict(body) if isinstance(body, dict) else {}
    return {**merged, "body": body, "headers": headers, "triggeredAt": triggered_at}


def call_result(occurrence: Occurrence, body: Any, headers: Mapping[str, str], triggered_at: str) -> dict[str, Any]:
    """Make the result of a call: the members of a provider's event where it is one."""
    if not occurrence.members:
        return webhook_result(body, headers, triggered_at)
    return {**occurrence.members, "event": body, "body": body, "headers": headers, "triggeredAt": triggered_at}


def _texts(name: str, value: Any) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    if len(values) > FILTER_LIMIT or not all(
        isinstance(one, str | int) and not isinstance(one, bool) for one in values
    ):
        raise BadInput(f"`{name}` is a text, or a list of at most {FILTER_LIMIT} of them", code=BAD_FILTER)
    return frozenset(str(one).strip().lower() for one in values)


def _passes(watch: WebhookWatch, name: str, value: Any, default: frozenset[str] = frozenset()) -> bool:
    wanted = watch.filters.get(name) or default
    return not wanted or str(value).lower() in wanted


def _at(body: Any, path: str) -> Any:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _members(body: Mapping[str, Any], **paths: str) -> dict[str, Any]:
    return {name: _at(body, path) for name, path in paths.items()}


def _stripe(body: Mapping[str, Any], _headers: Mapping[str, str], watch: WebhookWatch) -> Occurrence | None:
    kind, event_id = body.get("type"), body.get("id")
    if not event_id or not _passes(watch, "eventTypes", kind, frozenset({"payment_intent.succeeded"})):
        return None
    members = _members(
        body,
        eventType="type",
        paymentId="data.object.id",
        amount="data.object.amount",
        currency="data.object.currency",
        customer="data.object.customer",
        status="data.object.status",
        livemode="livemode",
    )
    return Occurrence(f"stripe:{event_id}", members)


def _shopify(body: Mapping[str, Any], headers: Mapping[str, str], watch: WebhookWatch) -> Occurrence | None:
    shop = headers.get("x-shopify-shop-domain", "")
    if headers.get("x-shopify-topic", "orders/create") != "orders/create" or not _passes(watch, "shop", shop):
        return None
    if body.get("id") is None:
        return None
    members = _members(
        body,
        orderId="id",
        orderName="name",
        email="email",
        totalPrice="total_price",
        currency="currency",
        lineItems="line_items",
        createdAt="created_at",
    )
    return Occurrence(f"shopify:{body['id']}", {**members, "shop": shop})


#: Payments that arrived, by the names of Payment Links, Checkouts, transfers and Commerce.
COINBASE_EVENTS = frozenset(
    {"payment_link.payment.success", "checkout.payment.success", "payments.transfers.completed", "charge:confirmed"}
)


def _coinbase(body: Mapping[str, Any], headers: Mapping[str, str], watch: WebhookWatch) -> Occurrence | None:
    kind = body.get("eventType") or body.get("type") or _at(body, "event.type")
    if not _passes(watch, "eventTypes", kind, COINBASE_EVENTS):
        return None
    data = next((found for name in ("data", "event.data") if isinstance(found := _at(body, name), dict)), body)
    payment = data.get("id") or data.get("transferId")
    members = {"eventType": kind, "paymentId": payment, **_members(data, amount="amount", currency="currency",
               status="status")}  # fmt: skip
    return Occurrence(f"coinbase:{kind}:{payment}" if payment else "", members)


def _telegram(body: Mapping[str, Any], _headers: Mapping[str, str], watch: WebhookWatch) -> Occurrence | None:
    post = body.get("channel_post") or body.get("message")
    update = body.get("update_id")
    if not isinstance(post, dict) or not isinstance(update, int):
        return None
    names = {str(_at(post, "chat.id")).lower(), "@" + str(_at(post, "chat.username")).lower()}
    text = post.get("text") or post.get("caption") or ""
    if (wanted := watch.filters.get("chatId")) and not names & wanted:
        return None
    if (words := watch.filters.get("keywords")) and not any(word in str(text).lower() for word in words):
        return None
    members = _members(
        post,
        messageId="message_id",
        chatId="chat.id",
        chatTitle="chat.title",
        chatUsername="chat.username",
        userId="from.id",
        username="from.username",
        date="date",
    )
    return Occurrence(f"telegram:{_at(post, 'chat.id')}:{update}", {**members, "text": text})


def _farcaster(body: Mapping[str, Any], _headers: Mapping[str, str], watch: WebhookWatch) -> Occurrence | None:
    cast = body.get("data")
    if body.get("type") != "cast.created" or not isinstance(cast, dict) or not cast.get("hash"):
        return None
    author, text = cast.get("author") if isinstance(cast.get("author"), dict) else {}, str(cast.get("text") or "")
    if not _passes(watch, "fids", _at(author, "fid")) or not _passes(watch, "username", _at(author, "username")):
        return None
    if (words := watch.filters.get("keywords")) and not any(word in text.lower() for word in words):
        return None
    members = _members(
        cast, hash="hash", fid="author.fid", username="author.username", channel="channel.id",
        parentHash="parent_hash", timestamp="timestamp",
    )  # fmt: skip
    return Occurrence(f"farcaster:{cast['hash']}", {**members, "text": text})


INBOUND: dict[str, Inbound] = {
    "stripe-payment-receive": Inbound("stripe", ("eventTypes",), _stripe),
    "shopify-order-created": Inbound("shopify", ("shop",), _shopify),
    "coinbase-payment-received": Inbound("coinbase", ("eventTypes",), _coinbase),
    "telegram-channel": Inbound("telegram", ("chatId", "keywords"), _telegram),
    "farcaster-new-cast": Inbound("farcaster", ("fids", "username", "keywords"), _farcaster),
}
#: The types that a call of the webhook address can fire.
WEBHOOK_TYPES = frozenset({"manual", "webhook", *INBOUND})
#: Words of the inbound routes for a provider.
PROVIDER_TYPES = {inbound.provider: kind for kind, inbound in INBOUND.items()}
