"""Execution webhooks: addresses that are told how runs end, and what becomes of the events that began them.

What they are told is added by the statements that end a run or decide an event, as a delivery; deliveries.py sends it.
"""

from datetime import datetime

import msgspec

from b3os.errors import BadInput, NotFound
from b3os.store.pool import Connection, Db
from b3os.store.statements import load

_SQL = load("hooks")

#: Each costs a row for every run of its organization.
MOST = 20


class NewHook(msgspec.Struct, frozen=True, kw_only=True):
    """What is registered; `secret` is sealed."""

    org_id: str
    id: str
    name: str
    url: str
    description: str
    event_types: list[str]
    workflow_id: str | None
    max_retries: int
    secret: bytes
    created_by: str


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A registered address, without its secret."""

    org_id: str
    id: str
    name: str
    url: str
    description: str
    event_types: list[str]
    workflow_id: str | None
    max_retries: int
    created_by: str
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


async def create_hook(db: Connection, new: NewHook) -> Hook:
    """Register an address; raises BadInput when the organization has as many as it may."""
    if await db.fetchval(_SQL["count"], new.org_id) >= MOST:
        raise BadInput(f"an organization has at most {MOST} execution webhooks", code=400376)
    await db.execute(_SQL["create"], *msgspec.structs.astuple(new))
    return await get_hook(db, new.org_id, new.id)


async def get_hook(db: Db, org_id: str, hook_id: str) -> Hook:
    """Return one; raises NotFound."""
    row = await db.fetchrow(_SQL["get"], org_id, hook_id)
    if row is None:
        raise NotFound(f"execution webhook {hook_id[:100]} was not found: check the id")
    return Hook(**row)


async def list_hooks(db: Db, org_id: str, *, limit: int, offset: int) -> list[Hook]:
    """Return an organization's, newest first."""
    return [Hook(**row) for row in await db.fetch(_SQL["list"], org_id, limit, offset)]


async def disable_hook(db: Db, org_id: str, hook_id: str) -> Hook:
    """Tell it nothing more; what was still to be sent fails."""
    await db.execute(_SQL["disable"], org_id, hook_id)
    return await get_hook(db, org_id, hook_id)


async def enable_hook(db: Db, org_id: str, hook_id: str) -> Hook:
    """Tell it again, of what comes from now on."""
    await db.execute(_SQL["enable"], org_id, hook_id)
    return await get_hook(db, org_id, hook_id)


async def put_secret(db: Db, org_id: str, hook_id: str, sealed: bytes) -> Hook:
    """Give it another secret."""
    await db.execute(_SQL["put_secret"], org_id, hook_id, sealed)
    return await get_hook(db, org_id, hook_id)
