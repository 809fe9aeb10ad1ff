"""Principals and API keys: a raw key is shown once and kept as SHA-256 only."""

import hashlib

import msgspec

from b3os.errors import Unauthenticated
from b3os.ids import new_secret
from b3os.store import orgs
from b3os.store.pool import Db

KEY_PREFIX = "b3sk_"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: one organization, a person or a key, and what the key may do."""

    org_id: str
    user_id: str = ""
    key_id: str = ""
    scope: str = "read"
    role: str = "developer"


def make_key() -> tuple[str, bytes]:
    """Make a raw API key and its hash."""
    raw = KEY_PREFIX + new_secret(256)
    return raw, hash_key(raw)


def hash_key(raw: str) -> bytes:
    """Hash a raw key; a random key of 256 bits needs no slow hash."""
    return hashlib.sha256(raw.encode()).digest()


async def principal_of(db: Db, authorization: str) -> Principal:
    """Return the principal of an Authorization header; `db` is on the engine's role."""
    kind, _, raw = authorization.partition(" ")
    if kind.lower() != "bearer" or not raw.startswith(KEY_PREFIX):
        raise Unauthenticated("an API key is needed: send Authorization: Bearer b3sk_...")
    key = await orgs.find_api_key(db, hash_key(raw.strip()))
    if key is None:
        raise Unauthenticated("the API key is not valid: make a new one")
    return Principal(org_id=key.org_id, user_id=key.user_id or "", key_id=key.id, scope=key.scope)
