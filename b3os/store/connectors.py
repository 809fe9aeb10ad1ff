"""Connectors: what a person may see, and the encrypted secret, which only `load_secret` returns."""

from datetime import datetime
from typing import Any

import msgspec

from b3os.errors import NotFound
from b3os.store.pool import Db
from b3os.store.statements import load

_SQL = load("connectors")


class Connector(msgspec.Struct, frozen=True):
    """A connector without its secret."""

    org_id: str
    id: str
    type: str
    provider: str
    name: str
    description: str
    masked_data: dict[str, Any]
    created_by: str
    updated_by: str
    created_at: datetime
    updated_at: datetime


def _absent(connector_id: str) -> NotFound:
    return NotFound(f"connector {connector_id} was not found: check the id")


async def create_connector(
    db: Db,
    org_id: str,
    connector_id: str,
    *,
    type: str,  # noqa: A002 - the wire's word
    name: str,
    secret: bytes | None,
    by: str,
    provider: str = "",
    description: str = "",
    masked_data: dict[str, Any] | None = None,
) -> Connector:
    """Store a connector; `secret` is encrypted by the caller."""
    fields = (type, provider, name, description, masked_data or {}, secret, by)
    await db.execute(_SQL["create"], org_id, connector_id, *fields)
    return await get_connector(db, org_id, connector_id)


async def get_connector(db: Db, org_id: str, connector_id: str) -> Connector:
    """Return a connector."""
    row = await db.fetchrow(_SQL["get"], org_id, connector_id)
    if row is None:
        raise _absent(connector_id)
    return Connector(*row.values())


async def list_connectors(
    db: Db,
    org_id: str,
    *,
    type: str | None = None,  # noqa: A002 - the wire's word
    limit: int = 20,
    offset: int = 0,
) -> list[Connector]:
    """Return connectors, newest first."""
    return [Connector(*row.values()) for row in await db.fetch(_SQL["list"], org_id, type, limit, offset)]


async def update_connector(
    db: Db,
    org_id: str,
    connector_id: str,
    *,
    by: str,
    name: str | None = None,
    description: str | None = None,
    masked_data: dict[str, Any] | None = None,
    secret: bytes | None = None,
) -> Connector:
    """Change what is given."""
    fields = (name, description, masked_data, secret, by)
    if await db.fetchval(_SQL["update"], org_id, connector_id, *fields) is None:
        raise _absent(connector_id)
    return await get_connector(db, org_id, connector_id)


async def delete_connector(db: Db, org_id: str, connector_id: str) -> None:
    """Remove a connector and its secret."""
    if await db.fetchval(_SQL["delete"], org_id, connector_id) is None:
        raise _absent(connector_id)


async def load_secret(db: Db, org_id: str, connector_id: str) -> bytes | None:
    """Return the encrypted secret, for the process that carries out actions."""
    row = await db.fetchrow(_SQL["secret"], org_id, connector_id)
    if row is None:
        raise _absent(connector_id)
    secret: bytes | None = row["secret"]
    return secret
