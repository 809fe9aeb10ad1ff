"""Credentials of connectors: sealed on the way in, opened only for the process that carries out actions."""

from typing import Any

import msgspec

from b3os.auth.sealing import seal, unseal
from b3os.store import connectors
from b3os.store.pool import Db


async def seal_credential(db: Db, org_id: str, connector_id: str, master_key: str, credential: dict[str, Any]) -> bytes:
    """Encrypt a credential; the organization gets its data key at the first one."""
    return await seal(db, org_id, connector_id, master_key, msgspec.json.encode(credential))


async def open_credential(db: Db, org_id: str, connector_id: str, master_key: str) -> dict[str, Any]:
    """Return a connector's credential; empty when it has none."""
    sealed = await connectors.load_secret(db, org_id, connector_id)
    plain = None if sealed is None else await unseal(db, org_id, connector_id, master_key, sealed)
    return {} if plain is None else msgspec.json.decode(plain, type=dict[str, Any])
