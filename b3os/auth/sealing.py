"""Sealing bytes under an organization's data key, which is made at the first one."""

from b3os.auth import envelope
from b3os.errors import NotFound
from b3os.store import orgs
from b3os.store.pool import Db


async def seal(db: Db, org_id: str, name: str, master_key: str, plain: bytes) -> bytes:
    """Encrypt a secret called `name`; another organization's or another name's never opens."""
    wrapped = await orgs.data_key(db, org_id)
    if wrapped is None:
        wrapped = await orgs.data_key(db, org_id, envelope.new_data_key(master_key, org_id))
    if wrapped is None:
        raise NotFound(f"organization {org_id} was not found: check the id")
    return envelope.encrypt(master_key, wrapped, org_id, name, plain)


async def unseal(db: Db, org_id: str, name: str, master_key: str, sealed: bytes) -> bytes | None:
    """Decrypt a secret; None when the organization has no data key, and so never sealed anything."""
    wrapped = await orgs.data_key(db, org_id)
    return None if wrapped is None else envelope.decrypt(master_key, wrapped, org_id, name, sealed)


def hook_secret_name(hook_id: str) -> str:
    """Return the name under which the secret of an execution webhook is sealed."""
    return f"hook:{hook_id}"
