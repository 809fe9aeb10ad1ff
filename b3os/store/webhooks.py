"""Inbound calls: the triggers behind an address, the calls that were received, rotation of an address's secret."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from b3os.errors import Conflict, NotFound
from b3os.store.pool import Db, transaction
from b3os.store.statements import load

_SQL = load("webhooks")

#: Received calls that are kept for an organization, and refused ones.
KEPT, KEPT_REFUSED = 500, 100
#: Triggers of one type that one call of a provider can fire.
FAN_OUT = 100


class Target(msgspec.Struct, frozen=True):
    """A trigger node that a call can fire."""

    org_id: str
    workflow_id: str
    version: int
    node_id: str
    type: str
    payload: dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A call as it was received, its credentials masked; `body` is None when it was refused or too large to keep."""

    org_id: str
    id: str
    workflow_id: str
    node_id: str
    received_at: datetime | None
    status: str
    reason: str
    run_id: str | None
    headers: dict[str, str]
    body: bytes | None
    size: int


async def targets_of_secret(db: Db, secret: str) -> list[Target]:
    """Return the trigger nodes behind a secret, an old one in its grace too; on the engine's role only."""
    return [Target(*row.values()) for row in await db.fetch(_SQL["by_secret"], secret)]


async def has_other_body(db: Db, org_id: str, run_id: str, body: Any) -> bool:
    """Say whether a run is there and was triggered by another body."""
    return bool(await db.fetchval(_SQL["has_other_body"], org_id, run_id, {"body": body}))


async def targets_of_workflow(db: Db, org_id: str, workflow_id: str) -> list[Target]:
    """Return the trigger nodes of a workflow's live version."""
    return [Target(*row.values()) for row in await db.fetch(_SQL["of_workflow"], org_id, workflow_id)]


async def targets_of_type(db: Db, org_id: str, kind: str) -> list[Target]:
    """Return an organization's active triggers of a type."""
    return [Target(*row.values()) for row in await db.fetch(_SQL["of_type"], org_id, kind, FAN_OUT)]


async def add_calls(db: Db, calls: Sequence[Call]) -> None:
    """Keep received calls."""
    columns = [
        [c.org_id for c in calls],
        [c.id for c in calls],
        [c.workflow_id for c in calls],
        [c.node_id for c in calls],
        [c.status for c in calls],
        [c.reason for c in calls],
        [c.run_id for c in calls],
        [c.headers for c in calls],
        [c.body for c in calls],
        [c.size for c in calls],
    ]
    await db.execute(_SQL["add_calls"], *columns)


async def prune_calls(db: Db, org_id: str) -> None:
    """Remove an organization's oldest calls beyond the limits."""
    await db.execute(_SQL["prune_calls"], org_id, KEPT, KEPT_REFUSED)


async def list_calls(db: Db, org_id: str, workflow_id: str, *, limit: int = 20, offset: int = 0) -> list[Call]:
    """Return the calls of a workflow, newest first."""
    return [Call(*row.values()) for row in await db.fetch(_SQL["list_calls"], org_id, workflow_id, limit, offset)]


async def get_call(db: Db, org_id: str, workflow_id: str, call_id: str) -> Call:
    """Return one call of a workflow."""
    row = await db.fetchrow(_SQL["get_call"], org_id, workflow_id, call_id)
    if row is None:
        raise NotFound(f"call {call_id} was not found: it is another workflow's, or no longer kept")
    return Call(*row.values())


async def rotate_secret(
    db: Db, org_id: str, workflow_id: str, secret: str, *, grace_s: float, by: str
) -> datetime | None:
    """Give a workflow's address a new secret; returns until when the old one is taken, None for not at all."""
    async with transaction(db) as tx:
        row = await tx.fetchrow(_SQL["rotate"], org_id, workflow_id, secret, grace_s, by)
        if row is None:
            raise Conflict(f"workflow {workflow_id} has no webhook address: publish it first")
        await tx.execute(_SQL["rotate_triggers"], org_id, workflow_id, secret)
        until: datetime | None = row["old_secret_until"]
        return until
