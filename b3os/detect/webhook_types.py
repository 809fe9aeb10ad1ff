"""The trigger types over the webhook path, as the API lists them. Pure."""

from typing import Any

from b3os.detect.signatures import SCHEMES
from b3os.detect.trigger_spec import TriggerSpec, object_of

_TEXT = {"type": "string"}
_ANY: dict[str, Any] = {}
_FILTER = {"type": ["string", "integer", "array"]}
_SECRET = {
    "type": "string",
    "description": "Secret that calls are signed with, readable by who reads the workflow: prefer a connector",
}
_SIGNED = {"signingSecret": _SECRET}
_RAW = {
    "event": {"description": "The whole event as it came"},
    "body": _ANY,
    "headers": {"type": "object"},
    "triggeredAt": _TEXT,
}
WEBHOOK_PAYLOAD = object_of(
    signature={
        "type": "string",
        "enum": [*SCHEMES, ""],
        "description": "How calls are signed; absent: the secret in the address is all",
    },
    signingSecret=_SECRET,
)


def _filter(about: str) -> dict[str, Any]:
    return {**_FILTER, "description": about}


WEBHOOK_SPECS = (
    TriggerSpec(
        "stripe-payment-receive",
        "Stripe payment",
        "Runs when Stripe reports a payment, signed with the endpoint's secret.",
        object_of(**_SIGNED, eventTypes=_filter("Stripe event types; absent: payment_intent.succeeded")),
        object_of(**_RAW, eventType=_TEXT, paymentId=_TEXT, amount={"type": "integer", "description": "Smallest unit"},
                  currency=_TEXT, customer=_ANY, status=_TEXT, livemode={"type": "boolean"}),
        ("webhook", "payments"),
    ),
    TriggerSpec(
        "shopify-order-created",
        "Shopify order",
        "Runs when an order is created in a Shopify store.",
        object_of(**_SIGNED, shop=_filter("Shop domains, such as mine.myshopify.com; absent: any")),
        object_of(**_RAW, orderId=_ANY, orderName=_TEXT, email=_ANY, totalPrice=_TEXT, currency=_TEXT,
                  lineItems={"type": "array"}, createdAt=_TEXT, shop=_TEXT),
        ("webhook", "commerce"),
    ),
    TriggerSpec(
        "coinbase-payment-received",
        "Coinbase payment",
        "Runs when Coinbase reports a payment that arrived.",
        object_of(**_SIGNED, eventTypes=_filter("Coinbase event types; absent: payments that arrived")),
        object_of(**_RAW, eventType=_TEXT, paymentId=_ANY, amount=_ANY, currency=_ANY, status=_ANY),
        ("webhook", "payments"),
    ),
    TriggerSpec(
        "telegram-channel",
        "Telegram message",
        "Runs when a bot sees a message of a Telegram channel or chat.",
        object_of(**_SIGNED, chatId=_filter("Chat ids or @names; absent: any"),
                  keywords=_filter("One of these is in the text, whatever its case")),
        object_of(**_RAW, text=_TEXT, messageId={"type": "integer"}, chatId={"type": "integer"}, chatTitle=_ANY,
                  chatUsername=_ANY, userId=_ANY, username=_ANY, date={"type": "integer"}),
        ("webhook", "communication"),
    ),
    TriggerSpec(
        "farcaster-new-cast",
        "Farcaster cast",
        "Runs when a cast is published on Farcaster, as Neynar reports it.",
        object_of(**_SIGNED, fids=_filter("Author ids; absent: any"), username=_filter("Author names; absent: any"),
                  keywords=_filter("One of these is in the text, whatever its case")),
        object_of(**_RAW, hash=_TEXT, text=_TEXT, fid=_ANY, username=_ANY, channel=_ANY, parentHash=_ANY,
                  timestamp=_ANY),
        ("webhook", "communication"),
    ),
)  # fmt: skip
