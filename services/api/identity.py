"""Who calls: bootstrap, whoami, organizations, API keys."""

from typing import Any

from b3os.auth.principal import make_key
from b3os.errors import BadInput
from b3os.ids import KEY, ORG, USER, new_id
from b3os.store import orgs
from b3os.store.pool import as_org, transaction
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
    return {"organizationId": who.org_id, "userId": who.user_id, "keyId": who.key_id, "scope": who.scope}


async def organizations(house: House, request: Request) -> Any:
    """GET /v1/organizations"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        org = await orgs.get_org(db, request.org_id)
    item = {"id": org.org_id, "name": org.name, "slug": org.slug, "description": org.description}
    return page_of([item] if not offset else [], limit, offset)


def _key(row: orgs.ApiKey) -> dict[str, Any]:
    return {
        "id": row.id,
        "organizationId": row.org_id,
        "name": row.name,
        "description": row.description,
        "keyPrefix": row.key_prefix,
        "scope": row.scope,
        "createdAt": time_text(row.created_at),
        "revokedAt": time_text(row.revoked_at),
    }


async def keys(house: House, request: Request) -> Any:
    """GET /v1/api-keys"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        rows = await orgs.list_api_keys(db, request.org_id)
    return page_of([_key(row) for row in rows[offset : offset + limit + 1]], limit, offset)


async def create_key(house: House, request: Request) -> Any:
    """POST /v1/api-keys"""
    fields = request.fields()
    name, scope = fields.get("name"), fields.get("scope", "read-write")
    if not isinstance(name, str) or not name.strip():
        raise BadInput("`name` is a non-empty string")
    if scope not in SCOPES:
        raise BadInput("`scope` is read or read-write")
    raw, digest = make_key()
    async with as_org(house.pool, request.org_id) as db:
        row = await orgs.create_api_key(
            db,
            request.org_id,
            new_id(KEY),
            key_hash=digest,
            key_prefix=raw[:12],
            name=name,
            scope=scope,
            by=request.by,
            description=str(fields.get("description") or ""),
        )
    return {**_key(row), "key": raw}


async def revoke_key(house: House, request: Request) -> Any:
    """DELETE /v1/api-keys/{id}"""
    async with as_org(house.pool, request.org_id) as db:
        await orgs.revoke_api_key(db, request.org_id, request.params["id"])
    return {"id": request.params["id"]}
