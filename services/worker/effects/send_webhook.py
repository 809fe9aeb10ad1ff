"""send-webhook: stores what is to be sent, and answers at once. The delivery's id follows from the call's key.

The address is checked here as far as it can be without resolving it; the guard checks what it resolves to when it is
sent. Plain http is for hosts that the operator opened.
"""

import hashlib
from typing import Any

import msgspec

from b3os.auth.sealing import seal
from b3os.net.guard import check_target
from b3os.run.builtins.webhooks import masked_headers, parse_webhook
from b3os.store import deliveries
from services.worker.effects.call import EffectCall, EffectHouse

METHOD = "POST"


def delivery_id_for(key: str) -> str:
    """Derive a delivery's id from an idempotency key."""
    return f"whd_{hashlib.sha256(key.encode()).hexdigest()[:32]}"


async def send(house: EffectHouse, call: EffectCall) -> dict[str, Any]:
    """Return {deliveryId, status, url, method}."""
    webhook = parse_webhook(call.input)
    check_target(webhook.url, house.allow)
    delivery_id = delivery_id_for(call.idempotency_key)
    secret = None
    if webhook.secret_headers:
        plain = msgspec.json.encode(webhook.secret_headers)
        secret = await seal(house.pool, call.org_id, f"delivery:{delivery_id}", house.master_key, plain)
    await deliveries.add(
        house.pool,
        deliveries.NewDelivery(
            org_id=call.org_id,
            id=delivery_id,
            workflow_id=call.workflow_id,
            run_id=call.run_id,
            node_id=call.node_id,
            url=webhook.url,
            method=METHOD,
            headers=webhook.headers | masked_headers(webhook.secret_headers),
            secret_headers=secret,
            body=webhook.body,
            max_retries=webhook.max_retries,
        ),
    )
    house.nudge()
    return {"deliveryId": delivery_id, "status": "pending", "url": webhook.url, "method": METHOD}
