"""The log of webhook deliveries: list, read, send again. What is shown of a secret header is its mask."""

from typing import Any

import msgspec

from b3os.errors import BadInput
from b3os.ids import new_id
from b3os.store import deliveries
from b3os.store.pool import as_org
from services.api.house import House
from services.api.wire import Request, page_of, time_text

STATUSES = ("pending", "success", "failure", "retrying")


def _body(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return data.decode(errors="replace")


def _shown(row: deliveries.Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "organizationId": row.org_id,
        "workflowId": row.workflow_id,
        "runId": row.run_id,
        "nodeId": row.node_id,
        "endpointId": row.endpoint_id,
        "eventType": row.event_type,
        "url": row.url,
        "method": row.method,
        "status": row.status,
        "requestHeaders": row.headers,
        "requestBody": _body(row.body),
        "responseStatus": row.response_status,
        "responseHeaders": row.response_headers,
        "responseBody": row.response_body,
        "errorMessage": row.error_message,
        "durationMs": row.duration_ms,
        "retryCount": row.retry_count,
        "maxRetries": row.max_retries,
        "nextRetryAt": time_text(row.next_retry_at) if row.status in ("pending", "retrying") else None,
        "replayOf": row.replay_of,
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


async def many(house: House, request: Request) -> Any:
    """GET /v1/outbound-webhook/deliveries"""
    return await _page(house, request)


async def many_of_hooks(house: House, request: Request) -> Any:
    """GET /v1/execution-webhooks/deliveries"""
    return await _page(house, request, is_of_hooks=True)


async def _page(house: House, request: Request, *, is_of_hooks: bool = False) -> Any:
    limit, offset = request.page()
    statuses = [s for value in request.query.get("status", []) for s in value.split(",")] or None
    if statuses and not set(statuses) <= set(STATUSES):
        raise BadInput(f"`status` is one of {', '.join(STATUSES)}")
    async with as_org(house.pool, request.org_id) as db:
        rows = await deliveries.list_deliveries(
            db,
            request.org_id,
            workflow_id=request.first("workflowId") or None,
            statuses=statuses,
            is_of_hooks=is_of_hooks,
            endpoint_id=request.first("endpointId") or None,
            limit=limit + 1,
            offset=offset,
        )
    return page_of([_shown(row) for row in rows], limit, offset)


async def get(house: House, request: Request) -> Any:
    """GET /v1/outbound-webhook/deliveries/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await deliveries.get_delivery(db, request.org_id, request.params["id"]))


async def replay(house: House, request: Request) -> Any:
    """POST /v1/outbound-webhook/deliveries/{id}/replay"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await deliveries.replay_delivery(db, request.org_id, request.params["id"], new_id("whd")))


async def retry(house: House, request: Request) -> Any:
    """POST /v1/outbound-webhook/deliveries/{id}/retry"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await deliveries.retry_delivery(db, request.org_id, request.params["id"]))
