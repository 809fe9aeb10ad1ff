"""Inbound webhooks over REST: the addresses, what was received, a replay, a new secret."""

from typing import Any

import msgspec

from b3os.errors import BadInput
from b3os.ids import new_secret
from b3os.inbound.forms import received
from b3os.store import webhooks as store
from b3os.store import workflows
from b3os.store.pool import as_org
from services.api.fields import CODE, whole
from services.api.house import House
from services.api.wire import Request, page_of, time_text

#: How long the old secret of an address is taken after a rotation, and at most.
GRACE_S, GRACE_MAX_S = 24 * 3600, 7 * 24 * 3600


async def webhook(house: House, request: Request) -> Any:
    """POST /v1/webhooks/{secret}"""
    return await house.desk.by_secret(request, request.params["secret"])


async def org_webhook(house: House, request: Request) -> Any:
    """POST /v1/orgs/{org}/integrations/webhook"""
    return await house.desk.by_organization(request, request.params["org"])


async def provider(house: House, request: Request) -> Any:
    """POST /v1/orgs/{org}/integrations/{provider}"""
    return await house.desk.by_provider(request, request.params["org"], request.params["provider"])


def _body_of(call: store.Call) -> Any:
    """Show a kept body as JSON if it is JSON."""
    if call.body is None:
        return None
    try:
        return msgspec.json.decode(call.body) if call.body.strip() else {}
    except (msgspec.DecodeError, RecursionError, ValueError):
        return call.body.decode(errors="replace")


async def calls(house: House, request: Request) -> Any:
    """GET /v1/workflows/{id}/webhook-calls"""
    limit, offset = request.page()
    await house.inbox.settle()
    async with as_org(house.pool, request.org_id) as db:
        row = await workflows.get_workflow(db, request.org_id, request.params["id"])
        found = await store.list_calls(db, request.org_id, row.id, limit=limit + 1, offset=offset)
    items = [
        {
            "id": call.id,
            "workflowId": call.workflow_id,
            "nodeId": call.node_id,
            "receivedAt": time_text(call.received_at),
            "status": call.status,
            "reason": call.reason,
            "runId": call.run_id,
            "headers": call.headers,
            "body": _body_of(call),
            "size": call.size,
        }
        for call in found
    ]
    return page_of(items, limit, offset)


async def replay(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/webhook-calls/{call}/replay"""
    await house.inbox.settle()
    async with as_org(house.pool, request.org_id) as db:  # a call of others is not there
        await store.get_call(db, request.org_id, request.params["id"], request.params["call"])
    return received([await house.inbox.replay(request.org_id, request.params["id"], request.params["call"])])


async def rotate(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/rotate-secret"""
    grace = whole(request.fields(), "graceSeconds")
    if grace is not None and grace > GRACE_MAX_S:
        raise BadInput(f"`graceSeconds` is at most {GRACE_MAX_S}: the old secret must end", code=CODE)
    async with as_org(house.pool, request.org_id) as db:
        row = await workflows.get_workflow(db, request.org_id, request.params["id"])
        secret = new_secret()
        until = await store.rotate_secret(
            db, row.org_id, row.id, secret, grace_s=float(GRACE_S if grace is None else grace), by=request.by
        )
    return {"workflowId": row.id, "triggerSecret": secret, "oldSecretUntil": time_text(until)}
