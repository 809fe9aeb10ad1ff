"""Organizations, users, members and API keys (stored as SHA-256 only)."""

from datetime import datetime

import msgspec

from b3os.errors import Conflict, NotFound
from b3os.store.pool import Db
from b3os.store.statements import load

_SQL = load("orgs")


class Organization(msgspec.Struct, frozen=True):
    """One organization; the wire's `id` is org_id."""

    org_id: str
    name: str
    slug: str
    description: str
    photo: str
    tier: str
    cu_min_threshold: float
    cu_balance: float
    webhook_secret: str
    created_by: str
    created_at: datetime
    updated_at: datetime


class User(msgspec.Struct, frozen=True):
    """A person who signs in."""

    id: str
    email: str
    name: str
    password_hash: str | None
    created_at: datetime


class Member(msgspec.Struct, frozen=True):
    """A user's place in an organization: owner or developer."""

    org_id: str
    user_id: str
    id: str
    role: str
    invited_by: str
    created_at: datetime
    updated_at: datetime
    user_email: str


class ApiKey(msgspec.Struct, frozen=True):
    """An API key without its secret."""

    org_id: str
    id: str
    key_prefix: str
    name: str
    description: str
    scope: str
    service_account_id: str | None
    user_id: str | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None
    last_used_user_agent: str | None


async def create_org(
    db: Db,
    org_id: str,
    *,
    name: str,
    slug: str,
    by: str,
    data_key: bytes | None = None,
    webhook_secret: str = "",
) -> Organization:
    """Store an organization; `data_key` is already wrapped by the master key. Conflict when the slug is taken."""
    made = await db.fetchval(_SQL["create_org"], org_id, name, slug, by, data_key, webhook_secret)
    if made is None:
        raise Conflict(f"the organization {slug} exists already: choose another slug")
    return await get_org(db, org_id)


async def get_org(db: Db, org_id: str) -> Organization:
    """Return an organization."""
    row = await db.fetchrow(_SQL["get_org"], org_id)
    if row is None:
        raise NotFound(f"organization {org_id} was not found: check the id")
    return Organization(*row.values())


async def update_org(
    db: Db, org_id: str, *, name: str | None = None, description: str | None = None, photo: str | None = None
) -> Organization:
    """Change what is given."""
    await db.fetchval(_SQL["update_org"], org_id, name, description, photo)
    return await get_org(db, org_id)


async def orgs_of(db: Db, user_id: str) -> list[Organization]:
    """Return the organizations of a user, oldest first; on the engine's role."""
    return [Organization(*row.values()) for row in await db.fetch(_SQL["orgs_of"], user_id)]


async def data_key(db: Db, org_id: str, fresh: bytes | None = None) -> bytes | None:
    """Return the wrapped data key; stores `fresh` when there is none yet (the first writer wins)."""
    if fresh is not None:
        await db.fetchval(_SQL["set_data_key"], org_id, fresh)
    found: bytes | None = await db.fetchval(_SQL["data_key"], org_id)
    return found


async def create_user(db: Db, user_id: str, *, email: str, name: str = "", password_hash: str | None = None) -> User:
    """Store a user; Conflict when the address is known."""
    if await db.fetchval(_SQL["create_user"], user_id, email, name, password_hash) is None:
        raise Conflict("this e-mail address has an account already: sign in")
    return User(*(await db.fetchrow(_SQL["user_by_id"], user_id)).values())


async def find_user(db: Db, *, email: str = "", user_id: str = "") -> User | None:
    """Find a user by address (any case) or id; on the engine's role."""
    row = await db.fetchrow(_SQL["user_by_email" if email else "user_by_id"], email or user_id)
    return None if row is None else User(*row.values())


async def put_member(db: Db, org_id: str, user_id: str, *, member_id: str, role: str, invited_by: str = "") -> None:
    """Add a member or change the role."""
    await db.execute(_SQL["put_member"], org_id, user_id, member_id, role, invited_by)


async def list_members(db: Db, org_id: str) -> list[Member]:
    """Return the members, oldest first."""
    return [Member(*row.values()) for row in await db.fetch(_SQL["members"], org_id)]


async def member_role(db: Db, org_id: str, user_id: str) -> str | None:
    """Return the user's role, or None for a stranger."""
    role: str | None = await db.fetchval(_SQL["role"], org_id, user_id)
    return role


async def create_api_key(
    db: Db,
    org_id: str,
    key_id: str,
    *,
    key_hash: bytes,
    key_prefix: str,
    name: str,
    scope: str,
    by: str,
    description: str = "",
    user_id: str | None = None,
    service_account_id: str | None = None,
    expires_at: datetime | None = None,
) -> ApiKey:
    """Store a key by its SHA-256."""
    who = (service_account_id, user_id, by, expires_at)
    await db.execute(_SQL["create_key"], org_id, key_id, key_hash, key_prefix, name, description, scope, *who)
    return await get_api_key(db, org_id, key_id)


async def get_api_key(db: Db, org_id: str, key_id: str) -> ApiKey:
    """Return a key, revoked or not."""
    row = await db.fetchrow(_SQL["get_key"], org_id, key_id)
    if row is None:
        raise NotFound(f"API key {key_id} was not found: check the id")
    return ApiKey(*row.values())


async def list_api_keys(db: Db, org_id: str) -> list[ApiKey]:
    """Return all keys, revoked ones too, newest first."""
    return [ApiKey(*row.values()) for row in await db.fetch(_SQL["keys"], org_id)]


async def find_api_key(db: Db, key_hash: bytes) -> ApiKey | None:
    """Find a key that is valid now; on the engine's role, since the organization is not known yet."""
    row = await db.fetchrow(_SQL["find_key"], key_hash)
    return None if row is None else ApiKey(*row.values())


async def revoke_api_key(db: Db, org_id: str, key_id: str) -> None:
    """Revoke a key for good."""
    if await db.fetchval(_SQL["revoke_key"], org_id, key_id) is None:
        raise NotFound(f"API key {key_id} was not found: check the id")


async def touch_api_key(db: Db, org_id: str, key_id: str, *, ip: str, user_agent: str) -> None:
    """Note the last use, at most once a minute."""
    await db.execute(_SQL["touch_key"], org_id, key_id, ip, user_agent)
