"""Credentials of connectors: sealed on the way in, opened only for the process that carries out actions."""

from typing import Any

import msgspec

from b3os.auth import envelope
from b3os.errors import NotFound
from b3os.store import connectors, orgs
from b3os.store.pool import Db


async def seal_credential(db: Db, org_id: str, connector_id: str, master_key: str, credential: dict[str, Any]) -> bytes:
    """Encrypt a credential; the organization gets its data key at the first one."""
    wrapped = await orgs.data_key(db, org_id)
    if wrapped is None:
        wrapped = await orgs.data_key(db, org_id, envelope.new_data_key(master_key, org_id))
    if wrapped is None:
        raise NotFound(f"organization {org_id} was not found: check the id")
    return envelope.encrypt(master_key, wrapped, org_id, connector_id, msgspec.json.encode(credential))


async def open_credential(db: Db, org_id: str, connector_id: str, master_key: str) -> dict[str, Any]:
    """Return a connector's credential; empty when it has none."""
    sealed = await connectors.load_secret(db, org_id, connector_id)
    wrapped = await orgs.data_key(db, org_id)
    if sealed is None or wrapped is None:
        return {}
    plain = envelope.decrypt(master_key, wrapped, org_id, connector_id, sealed)
    return msgspec.json.decode(plain, type=dict[str, Any])
