"""Execution webhooks over REST: register an address, switch it off and on, give it another secret.

A secret is shown once, in the answer that made it.
"""

from typing import Any

from b3os.auth.sealing import hook_secret_name, seal
from b3os.errors import BadInput
from b3os.ids import new_id, new_secret
from b3os.net.guard import AllowList, check_target
from b3os.run.builtins.webhooks import RETRIES_DEFAULT, RETRIES_MOST
from b3os.store import hooks as store
from b3os.store import workflows
from b3os.store.pool import Connection, as_org
from services.api.fields import CODE, name_of, text, whole
from services.api.house import House
from services.api.wire import Request, page_of, time_text

#: What an address can be told.
EVENT_TYPES = ("run.completed", "run.failed", "run.cancelled", "event.finalized", "event.removed")
BAD_EVENTS = 400377
URL_LIMIT = 2000


def _shown(row: store.Hook) -> dict[str, Any]:
    return {
        "id": row.id,
        "organizationId": row.org_id,
        "name": row.name,
        "url": row.url,
        "description": row.description,
        "subscribedEventTypes": row.event_types,
        "workflowId": row.workflow_id,
        "maxRetries": row.max_retries,
        "status": "active" if row.disabled_at is None else "disabled",
        "createdBy": row.created_by,
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
        "disabledAt": time_text(row.disabled_at),
    }


def _events(fields: dict[str, Any]) -> list[str]:
    found = fields.get("subscribedEventTypes", list(EVENT_TYPES))
    if not isinstance(found, list) or not found or not all(one in EVENT_TYPES for one in found):
        raise BadInput(f"`subscribedEventTypes` lists some of {', '.join(EVENT_TYPES)}", code=BAD_EVENTS)
    return sorted(set(found))


async def _sealed(house: House, db: Connection, org_id: str, hook_id: str) -> tuple[str, bytes]:
    """Make a secret; returns it plain, to be shown once, and sealed."""
    secret = new_secret()
    name, key = hook_secret_name(hook_id), house.settings.master_key
    return secret, await seal(db, org_id, name, key, secret.encode())


async def many(house: House, request: Request) -> Any:
    """GET /v1/execution-webhooks"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        rows = await store.list_hooks(db, request.org_id, limit=limit + 1, offset=offset)
    return page_of([_shown(row) for row in rows], limit, offset)


async def create(house: House, request: Request) -> Any:
    """POST /v1/execution-webhooks"""
    fields, hook_id = request.fields(), new_id("hook")
    name, description = name_of(fields), text(fields, "description") or ""
    url = str(text(fields, "url", URL_LIMIT, is_needed=True)).strip()
    check_target(url, AllowList(house.settings.egress_allow))
    events, workflow_id = _events(fields), text(fields, "workflowId") or None
    retries = whole(fields, "maxRetries")
    if retries is not None and retries > RETRIES_MOST:
        raise BadInput(f"`maxRetries` is at most {RETRIES_MOST}", code=CODE)
    async with as_org(house.pool, request.org_id) as db:
        if workflow_id is not None:
            await workflows.get_workflow(db, request.org_id, workflow_id)
        secret, sealed = await _sealed(house, db, request.org_id, hook_id)
        row = await store.create_hook(
            db,
            store.NewHook(
                org_id=request.org_id,
                id=hook_id,
                name=name,
                url=url,
                description=description,
                event_types=events,
                workflow_id=workflow_id,
                max_retries=RETRIES_DEFAULT if retries is None else retries,
                secret=sealed,
                created_by=request.by,
            ),
        )
    return {"endpoint": _shown(row), "signingSecret": secret}


async def get(house: House, request: Request) -> Any:
    """GET /v1/execution-webhooks/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await store.get_hook(db, request.org_id, request.params["id"]))


async def disable(house: House, request: Request) -> Any:
    """POST /v1/execution-webhooks/{id}/disable"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await store.disable_hook(db, request.org_id, request.params["id"]))


async def enable(house: House, request: Request) -> Any:
    """POST /v1/execution-webhooks/{id}/enable"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await store.enable_hook(db, request.org_id, request.params["id"]))


async def regenerate_secret(house: House, request: Request) -> Any:
    """POST /v1/execution-webhooks/{id}/regenerate-secret"""
    hook_id = request.params["id"]
    async with as_org(house.pool, request.org_id) as db:
        await store.get_hook(db, request.org_id, hook_id)
        secret, sealed = await _sealed(house, db, request.org_id, hook_id)
        row = await store.put_secret(db, request.org_id, hook_id, sealed)
    return {"endpoint": _shown(row), "signingSecret": secret}
