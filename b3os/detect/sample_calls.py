"""One call of each provider, as it sends them: what a sample is made of, and what its emulator sends. Data."""

from typing import Any

STRIPE = {
    "id": "evt_1P",
    "object": "event",
    "type": "payment_intent.succeeded",
    "livemode": False,
    "data": {
        "object": {"id": "pi_1", "object": "payment_intent", "amount": 2000, "currency": "usd", "status": "succeeded",
                   "customer": "cus_1"}
    },
}  # fmt: skip
SHOPIFY = {
    "id": 820982911946154508,
    "name": "#9999",
    "email": "jon@example.com",
    "total_price": "398.00",
    "currency": "USD",
    "created_at": "2026-01-01T11:00:00-05:00",
    "line_items": [{"id": 1, "title": "IPod", "quantity": 1}],
}
COINBASE = {
    "eventType": "payment_link.payment.success",
    "data": {"id": "69163c762331cb43a74ac3a9", "amount": "10.00", "currency": "USDC", "status": "COMPLETED"},
}
TELEGRAM = {
    "update_id": 10000,
    "channel_post": {
        "message_id": 7,
        "chat": {"id": -1001234567890, "title": "News", "username": "news", "type": "channel"},
        "date": 1_700_000_000,
        "text": "Listing of B3 today",
    },
}
FARCASTER = {
    "type": "cast.created",
    "created_at": 1_700_000_000,
    "data": {
        "object": "cast",
        "hash": "0xfe90f9de682273e05b201629ad2338bdcd89b6be",
        "author": {"object": "user", "fid": 3, "username": "dwr.eth"},
        "text": "gm",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "channel": {"id": "b3"},
        "parent_hash": None,
    },
}
CALLS: dict[str, Any] = {
    "stripe": STRIPE,
    "shopify": SHOPIFY,
    "coinbase": COINBASE,
    "telegram": TELEGRAM,
    "farcaster": FARCASTER,
}
