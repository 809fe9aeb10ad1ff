"""Who calls: bootstrap, whoami, organizations, members, API keys."""

from datetime import UTC, datetime
from typing import Any

from b3os.auth.principal import make_key
from b3os.errors import BadInput, NotFound
from b3os.ids import KEY, ORG, USER, new_id
from b3os.store import orgs
from b3os.store.pool import as_org, transaction
from services.api.fields import CODE, moment, name_of, text
from services.api.house import House
from services.api.wire import Request, page_of, time_text

SCOPES = ("read", "read-write")


async def bootstrap(house: House, _request: Request) -> Any:
    """POST /v1/bootstrap"""
    org_id, user_id = new_id(ORG), new_id(USER)
    slug = org_id.replace("_", "-")
    raw, digest = make_key()
    async with transaction(house.pool) as db:
        await orgs.create_user(db, user_id, email=f"{user_id}@bootstrap.invalid")
        await orgs.create_org(db, org_id, name="My organization", slug=slug, by=user_id)
        await orgs.put_member(db, org_id, user_id, member_id=new_id("mem"), role="owner")
        await orgs.create_api_key(
            db,
            org_id,
            new_id(KEY),
            key_hash=digest,
            key_prefix=raw[:12],
            name="bootstrap",
            scope="read-write",
            by=user_id,
            user_id=user_id,
        )
    return {
        "orgId": org_id,
        "orgSlug": slug,
        "apiKey": raw,
        "initialCuGrant": 0,
        "expiresAt": None,
        "claimUrl": None,
        "status": "created",
    }


async def whoami(_house: House, request: Request) -> Any:
    """GET /v1/whoami"""
    assert request.principal is not None
    who = request.principal
    return {"organizationId": who.org_id, "userId": who.user_id or None, "keyId": who.key_id, "scope": who.scope}


async def organizations(house: House, request: Request) -> Any:
    """GET /v1/organizations"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        org = await orgs.get_org(db, request.org_id)
    return page_of([_organization(org)] if not offset else [], limit, offset)


def _organization(row: orgs.Organization) -> dict[str, Any]:
    return {
        "id": row.org_id,
        "name": row.name,
        "slug": row.slug,
        "description": row.description,
        "photo": row.photo,
        "tier": row.tier,
        "cuMinThreshold": row.cu_min_threshold,
        "createdBy": row.created_by,
        "createdAt": time_text(row.created_at),
        "updatedAt": time_text(row.updated_at),
    }


def _check_org(request: Request, name: str) -> None:
    """Refuse another organization than the caller's, as if it were not there."""
    if request.params[name] != request.org_id:
        raise NotFound(f"organization {request.params[name]} was not found: see GET /v1/organizations")


async def organization(house: House, request: Request) -> Any:
    """GET /v1/organizations/{id}"""
    _check_org(request, "id")
    async with as_org(house.pool, request.org_id) as db:
        return _organization(await orgs.get_org(db, request.org_id))


async def update_organization(house: House, request: Request) -> Any:
    """PUT /v1/organizations/{id}"""
    _check_org(request, "id")
    fields = request.fields()
    name = name_of(fields) if "name" in fields else None
    description, photo = text(fields, "description"), text(fields, "photo")
    async with as_org(house.pool, request.org_id) as db:
        return _organization(await orgs.update_org(db, request.org_id, name=name, description=description, photo=photo))


async def members(house: House, request: Request) -> Any:
    """GET /v1/orgs/{org}/members"""
    _check_org(request, "org")
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        rows = await orgs.list_members(db, request.org_id)
    items = [
        {
            "id": row.id,
            "organizationId": row.org_id,
            "userId": row.user_id,
            "userEmail": row.user_email,
            "role": row.role,
            "invitedBy": row.invited_by,
            "createdAt": time_text(row.created_at),
            "updatedAt": time_text(row.updated_at),
        }
        for row in rows[offset : offset + limit + 1]
    ]
    return page_of(items, limit, offset)


def _key(row: orgs.ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "organizationId": row.org_id,
        "name": row.name,
        "description": row.description,
        "keyPrefix": row.key_prefix,
        "scope": row.scope,
        "serviceAccountId": row.service_account_id,
        "userId": row.user_id,
        "createdBy": row.created_by,
        "createdAt": time_text(row.created_at),
        "expiresAt": time_text(row.expires_at),
        "revokedAt": time_text(row.revoked_at),
        "lastUsedAt": time_text(row.last_used_at),
        "lastUsedIp": row.last_used_ip,
        "lastUsedUserAgent": row.last_used_user_agent,
    }


async def keys(house: House, request: Request) -> Any:
    """GET /v1/api-keys"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        rows = await orgs.list_api_keys(db, request.org_id)
    return page_of([_key(row) for row in rows[offset : offset + limit + 1]], limit, offset)


async def key(house: House, request: Request) -> Any:
    """GET /v1/api-keys/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        return _key(await orgs.get_api_key(db, request.org_id, request.params["id"]))


async def create_key(house: House, request: Request) -> Any:
    """POST /v1/api-keys"""
    fields = request.fields()
    scope, expires_at = fields.get("scope", "read-write"), moment(fields, "expiresAt")
    if scope not in SCOPES:
        raise BadInput("`scope` is read or read-write", code=CODE)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise BadInput("`expiresAt` is over already: give a time to come", code=CODE)
    raw, digest = make_key()
    async with as_org(house.pool, request.org_id) as db:
        row = await orgs.create_api_key(
            db,
            request.org_id,
            new_id(KEY),
            key_hash=digest,
            key_prefix=raw[:12],
            name=name_of(fields),
            scope=scope,
            by=request.by,
            description=text(fields, "description") or "",
            expires_at=expires_at,
        )
    return {**_key(row), "key": raw}


async def revoke_key(house: House, request: Request) -> Any:
    """DELETE /v1/api-keys/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        await orgs.revoke_api_key(db, request.org_id, request.params["id"])
    return {"id": request.params["id"]}
