"""Connectors over REST. A secret goes in and never comes out: what is shown is its mask."""

from typing import Any

import msgspec

from b3os.actions.spec import ConnectorSpec
from b3os.auth.connectors import seal_credential
from b3os.errors import BadInput
from b3os.ids import CONNECTOR, new_id
from b3os.store import connectors as store
from b3os.store.pool import as_org
from services.api.fields import name_of, text
from services.api.house import House
from services.api.wire import Request, page_of, time_text
from services.api.workflows import CATALOG


def _shown(row: store.Connector) -> dict[str, Any]:
    return {
        "id": row.id,
        "organizationId": row.org_id,
        "name": row.name,
        "type": row.type,
        "provider": row.provider,
        "description": row.description,
        "maskedData": row.masked_data,
        "createdAt": time_text(row.created_at),
        "createdBy": row.created_by,
        "updatedAt": time_text(row.updated_at),
        "updatedBy": row.updated_by,
    }


def _spec(connector_type: Any) -> ConnectorSpec:
    spec = CATALOG.connectors.get(connector_type) if isinstance(connector_type, str) else None
    if spec is None:
        raise BadInput(f"`type` is one of {', '.join(sorted(CATALOG.connectors))}", code=400340)
    return spec


def _secret(spec: ConnectorSpec, data: Any) -> dict[str, Any]:
    """Check a credential; the error names the field, never its value."""
    try:
        found = msgspec.convert(data, spec.secret)
    except msgspec.ValidationError as error:
        raise BadInput(f"`data` is no credential of {spec.type}: {error}", code=400341) from error
    return dict(msgspec.to_builtins(found))


def mask(secret: dict[str, Any]) -> dict[str, str]:
    """Show the last four characters of a long secret, and nothing of a short one."""
    return {name: f"••••{str(value)[-4:]}" if len(str(value)) >= 12 else "••••" for name, value in secret.items()}


async def many(house: House, request: Request) -> Any:
    """GET /v1/connectors"""
    limit, offset = request.page()
    wanted = request.first("type") or None
    async with as_org(house.pool, request.org_id) as db:
        rows = await store.list_connectors(db, request.org_id, type=wanted, limit=limit + 1, offset=offset)
    return page_of([_shown(row) for row in rows], limit, offset)


async def create(house: House, request: Request) -> Any:
    """POST /v1/connectors"""
    fields = request.fields()
    name, description = name_of(fields), text(fields, "description")
    spec = _spec(fields.get("type"))
    secret, connector_id = _secret(spec, fields.get("data")), new_id(CONNECTOR)
    async with as_org(house.pool, request.org_id) as db:
        sealed = await seal_credential(db, request.org_id, connector_id, house.settings.master_key, secret)
        row = await store.create_connector(
            db,
            request.org_id,
            connector_id,
            type=spec.type,
            name=name,
            secret=sealed,
            by=request.by,
            provider=str(CATALOG.connector_definition(spec.type)["provider"]),
            description=description or "",
            masked_data=mask(secret),
        )
    return _shown(row)


async def get(house: House, request: Request) -> Any:
    """GET /v1/connectors/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        return _shown(await store.get_connector(db, request.org_id, request.params["id"]))


async def update(house: House, request: Request) -> Any:
    """PUT /v1/connectors/{id}"""
    fields, connector_id = request.fields(), request.params["id"]
    name = name_of(fields) if "name" in fields else None
    description = text(fields, "description")
    async with as_org(house.pool, request.org_id) as db:
        row = await store.get_connector(db, request.org_id, connector_id)
        sealed, shown = None, None
        if fields.get("data") is not None:
            secret = _secret(_spec(row.type), fields["data"])
            sealed = await seal_credential(db, request.org_id, connector_id, house.settings.master_key, secret)
            shown = mask(secret)
        changed = await store.update_connector(
            db,
            request.org_id,
            connector_id,
            by=request.by,
            name=name,
            description=description,
            masked_data=shown,
            secret=sealed,
        )
    return _shown(changed)


async def remove(house: House, request: Request) -> Any:
    """DELETE /v1/connectors/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        await store.delete_connector(db, request.org_id, request.params["id"])
    return {"id": request.params["id"]}


async def types(_house: House, _request: Request) -> Any:
    """GET /v1/connector-types"""
    return [CATALOG.connector_definition(name) for name in sorted(CATALOG.connectors)]


async def type_(_house: House, request: Request) -> Any:
    """GET /v1/connector-types/{type}"""
    return CATALOG.connector_definition(request.params["type"])
