"""Workflows: drafts, immutable versions, publishing (which feeds the masters), pausing, archiving, rolling back."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from b3os.errors import BadInput, Conflict, NotFound
from b3os.store.pool import Connection, Db, json_text, transaction
from b3os.store.statements import load

_SQL = load("workflows")


class Workflow(msgspec.Struct, frozen=True):
    """One workflow with the definition of one version (`shown_version`); `version` is the newest."""

    org_id: str
    id: str
    name: str
    description: str
    status: str
    type: str
    version: int
    live_version: int | None
    cooldown_ms: int
    max_runs: int | None
    remain_runs: int | None
    paused_reason: str | None
    visibility: str
    trigger_secret: str | None
    ui_metadata: dict[str, Any]
    created_by: str
    updated_by: str
    created_at: datetime
    updated_at: datetime
    last_triggered_at: datetime | None
    shown_version: int
    definition: dict[str, Any]
    version_created_by: str

    @property
    def has_draft(self) -> bool:
        return self.live_version != self.version

    @property
    def has_live_version(self) -> bool:
        return self.live_version is not None


class Version(msgspec.Struct, frozen=True):
    """One line of a workflow's history."""

    version: int
    name: str
    created_by: str
    created_at: datetime
    published_at: datetime | None


class PublishedTrigger(msgspec.Struct, frozen=True):
    """A trigger node as it is published; `pattern` is its payload compiled for the masters, or empty."""

    node_id: str
    type: str
    payload: dict[str, Any]
    pattern: bytes = b""


class _Head(msgspec.Struct, frozen=True):
    version: int
    live_version: int | None
    status: str
    trigger_secret: str | None
    cooldown_ms: int
    max_runs: int | None
    name: str


async def create_workflow(
    db: Db,
    org_id: str,
    workflow_id: str,
    *,
    name: str,
    definition: dict[str, Any],
    by: str,
    description: str = "",
    type: str = "",  # noqa: A002 - the wire's word
    cooldown_ms: int = 0,
    max_runs: int | None = None,
    ui_metadata: dict[str, Any] | None = None,
) -> Workflow:
    """Store a new draft as version 1."""
    async with transaction(db) as tx:
        settings = (cooldown_ms, max_runs, ui_metadata or {}, by)
        await tx.execute(_SQL["create"], org_id, workflow_id, name, description, type, *settings)
        await tx.execute(_SQL["add_version"], org_id, workflow_id, 1, name, definition, by)
        return await get_workflow(tx, org_id, workflow_id)


async def get_workflow(db: Db, org_id: str, workflow_id: str, version: int | None = None) -> Workflow:
    """Return a workflow with its newest definition, or that of `version`."""
    row = await db.fetchrow(_SQL["get"], org_id, workflow_id, version)
    if row is None:
        raise NotFound(f"workflow {workflow_id} was not found: check the id and the version")
    return Workflow(*row.values())


async def list_workflows(
    db: Db,
    org_id: str,
    *,
    statuses: list[str] | None = None,
    search: str | None = None,
    limit: int = 20,
    offset: int = 0,
) -> list[Workflow]:
    """Return workflows, last changed first; archived ones only when asked for."""
    rows = await db.fetch(_SQL["list"], org_id, statuses, search, limit, offset)
    return [Workflow(*row.values()) for row in rows]


async def _lock(tx: Connection, org_id: str, workflow_id: str, expected: int | None = None) -> _Head:
    row = await tx.fetchrow(_SQL["lock"], org_id, workflow_id)
    if row is None:
        raise NotFound(f"workflow {workflow_id} was not found: check the id")
    head = _Head(*row.values())
    if expected is not None and expected != head.version:
        raise Conflict(f"workflow {workflow_id} is at version {head.version}, not {expected}: reload and try again")
    return head


async def update_workflow(
    db: Db,
    org_id: str,
    workflow_id: str,
    *,
    by: str,
    expected_version: int | None = None,
    name: str | None = None,
    description: str | None = None,
    definition: dict[str, Any] | None = None,
    type: str | None = None,  # noqa: A002 - the wire's word
    cooldown_ms: int | None = None,
    max_runs: int | None = None,
    ui_metadata: dict[str, Any] | None = None,
) -> Workflow:
    """Change what is given; a different definition becomes a new draft version, the same one changes nothing."""
    async with transaction(db) as tx:
        head = await _lock(tx, org_id, workflow_id, expected_version)
        version = head.version
        key = (org_id, workflow_id, version)
        if definition is not None and not await tx.fetchval(_SQL["same_definition"], *key, definition):
            version += 1
            new = (version, name or head.name, definition, by)
            await tx.execute(_SQL["add_version"], org_id, workflow_id, *new)
        fields = (name, description, cooldown_ms, max_runs, ui_metadata, version, by, type)
        await tx.execute(_SQL["update"], org_id, workflow_id, *fields)
        return await get_workflow(tx, org_id, workflow_id)


async def publish(
    db: Db,
    org_id: str,
    workflow_id: str,
    *,
    triggers: Sequence[PublishedTrigger],
    by: str,
    new_secret: Callable[[], str],
    expected_version: int | None = None,
    max_runs: int | None = None,
) -> Workflow:
    """Make the newest version live with these triggers. The masters see it at once.

    `max_runs` is the limit that the triggers name; the workflow's own goes before it.
    """
    async with transaction(db) as tx:
        head = await _lock(tx, org_id, workflow_id, expected_version)
        if head.status == "archived":
            raise BadInput(f"workflow {workflow_id} is archived: unarchive it first")
        secret = head.trigger_secret or new_secret()
        await tx.execute(_SQL["activate"], org_id, workflow_id, secret, by)
        await tx.execute(_SQL["mark_published"], org_id, workflow_id, head.version)
        limit = max_runs if head.max_runs is None else head.max_runs
        if head.cooldown_ms or limit is not None or await _is_limited(tx, org_id, workflow_id):
            limits = (head.cooldown_ms, limit, True)
            await tx.execute(_SQL["put_limits"], org_id, workflow_id, *limits)
        nodes = [trigger.node_id for trigger in triggers]
        await tx.execute(_SQL["drop_triggers"], org_id, workflow_id, nodes)
        columns = (
            nodes,
            [trigger.type for trigger in triggers],
            [json_text(trigger.payload) for trigger in triggers],
            [trigger.pattern for trigger in triggers],
        )
        settings = (head.version, secret, head.cooldown_ms, limit)
        await tx.execute(_SQL["forget_problems"], org_id, workflow_id)
        await tx.execute(_SQL["put_triggers"], org_id, workflow_id, *settings, *columns)
        return await get_workflow(tx, org_id, workflow_id)


async def _is_limited(tx: Connection, org_id: str, workflow_id: str) -> bool:
    return await tx.fetchrow(_SQL["remaining"], org_id, workflow_id) is not None


async def pause(db: Db, org_id: str, workflow_id: str, *, by: str, reason: str | None = None) -> Workflow:
    """Stop the triggers of an active workflow; runs under way go on."""
    async with transaction(db) as tx:
        head = await _lock(tx, org_id, workflow_id)
        if head.status not in ("active", "paused"):
            raise Conflict(f"workflow {workflow_id} is {head.status}: only an active workflow can be paused")
        await tx.execute(_SQL["set_status"], org_id, workflow_id, "paused", reason, by)
        await tx.execute(_SQL["drop_triggers"], org_id, workflow_id, [])
        return await get_workflow(tx, org_id, workflow_id)


async def resume(db: Db, org_id: str, workflow_id: str, *, by: str) -> Workflow:
    """Start the triggers of the live version again."""
    async with transaction(db) as tx:
        head = await _lock(tx, org_id, workflow_id)
        if head.status not in ("active", "paused") or head.live_version is None:
            raise Conflict(f"workflow {workflow_id} is {head.status}: only a paused workflow can be resumed")
        row = await tx.fetchrow(_SQL["remaining"], org_id, workflow_id)
        if row is not None and row["remain_runs"] == 0:
            raise Conflict(f"workflow {workflow_id} has used all its runs: refill it")
        await tx.execute(_SQL["set_status"], org_id, workflow_id, "active", None, by)
        await tx.execute(_SQL["wake_triggers"], org_id, workflow_id, head.live_version)
        return await get_workflow(tx, org_id, workflow_id)


async def refill(db: Db, org_id: str, workflow_id: str, *, remain_runs: int, by: str) -> Workflow:
    """Set the runs that are left; a workflow that paused because it had none goes on."""
    async with transaction(db) as tx:
        head = await _lock(tx, org_id, workflow_id)
        await tx.execute(_SQL["put_limits"], org_id, workflow_id, head.cooldown_ms, remain_runs, False)
        await tx.execute(_SQL["refill"], org_id, workflow_id, remain_runs)
        found = await get_workflow(tx, org_id, workflow_id)
        if found.paused_reason == "max_runs_exhausted" and remain_runs > 0:
            return await resume(tx, org_id, workflow_id, by=by)
        return found


async def archive(db: Db, org_id: str, workflow_id: str, *, by: str) -> Workflow:
    """Hide a workflow and remove its triggers."""
    async with transaction(db) as tx:
        await _lock(tx, org_id, workflow_id)
        await tx.execute(_SQL["set_status"], org_id, workflow_id, "archived", None, by)
        await tx.execute(_SQL["drop_triggers"], org_id, workflow_id, [])
        return await get_workflow(tx, org_id, workflow_id)


async def unarchive(db: Db, org_id: str, workflow_id: str, *, by: str) -> Workflow:
    """Bring an archived workflow back as a draft."""
    async with transaction(db) as tx:
        head = await _lock(tx, org_id, workflow_id)
        if head.status != "archived":
            raise Conflict(f"workflow {workflow_id} is {head.status}: only an archived one can be unarchived")
        await tx.execute(_SQL["set_status"], org_id, workflow_id, "draft", None, by)
        return await get_workflow(tx, org_id, workflow_id)


async def rollback(
    db: Db, org_id: str, workflow_id: str, version: int, *, by: str, expected_version: int | None = None
) -> Workflow:
    """Make a new draft from an older version; it must be published again."""
    async with transaction(db) as tx:
        await _lock(tx, org_id, workflow_id, expected_version)
        old = await get_workflow(tx, org_id, workflow_id, version)
        return await update_workflow(tx, org_id, workflow_id, by=by, definition=old.definition)


async def list_versions(db: Db, org_id: str, workflow_id: str, *, limit: int = 20, offset: int = 0) -> list[Version]:
    """Return the history, newest first."""
    rows = await db.fetch(_SQL["versions"], org_id, workflow_id, limit, offset)
    return [Version(*row.values()) for row in rows]
