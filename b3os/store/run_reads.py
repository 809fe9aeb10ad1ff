"""Runs as the API sees them: get, list, start by hand, cancel, retry. Every function names the organization."""

from datetime import datetime
from typing import Any

import msgspec

from b3os.errors import BadInput, Conflict, NotFound
from b3os.store.pool import Db, transaction
from b3os.store.statements import load
from b3os.store.waits import drop_waits_of_run

_SQL = load("run_reads")


class Run(msgspec.Struct, frozen=True):
    """One run with the definition it ran."""

    org_id: str
    id: str
    workflow_id: str
    workflow_version: int
    status: str
    trigger_node: str
    trigger_source: str
    trigger_result: dict[str, Any]
    source_run_id: str | None
    started_at: datetime
    finished_at: datetime | None
    epoch: int
    triggered_by: str
    is_simulation: bool
    is_dust_test: bool
    definition: dict[str, Any] | None
    workflow_name: str
    is_queued: bool


class RunListItem(msgspec.Struct, frozen=True):
    """One line of the list of runs."""

    org_id: str
    id: str
    workflow_id: str
    workflow_version: int
    status: str
    trigger_node: str
    trigger_source: str
    source_run_id: str | None
    started_at: datetime
    finished_at: datetime | None
    triggered_by: str
    is_simulation: bool
    is_dust_test: bool
    workflow_name: str


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run started by hand, by another workflow, or inline (with its own definition and no workflow)."""

    org_id: str
    id: str
    now_ms: int
    workflow_id: str = ""
    workflow_version: int = 0
    trigger_node: str = "root"
    trigger_source: str = "manual"
    trigger_result: dict[str, Any] = {}
    triggered_by: str = ""
    definition: dict[str, Any] | None = None
    is_simulation: bool = False
    is_dust_test: bool = False
    source_run_id: str | None = None


async def get_run(db: Db, org_id: str, run_id: str) -> Run:
    """Return a run; NotFound when it is absent or another organization's."""
    row = await db.fetchrow(_SQL["get"], org_id, run_id)
    if row is None:
        raise NotFound(f"run {run_id} was not found: check the id")
    return Run(*row.values())


async def list_runs(
    db: Db,
    org_id: str,
    *,
    workflow_id: str | None = None,
    statuses: list[str] | None = None,
    limit: int = 20,
    offset: int = 0,
) -> list[RunListItem]:
    """Return runs, newest first; ask for one more than a page to know whether there is a next."""
    rows = await db.fetch(_SQL["list"], org_id, workflow_id, statuses, limit, offset)
    return [RunListItem(*row.values()) for row in rows]


async def create_run(db: Db, new: NewRun) -> bool:
    """Store a run that was not started by an event; True when it is the queue's now. 400079 when the id is taken."""
    n = new
    is_queued: bool | None = await db.fetchval(
        _SQL["create"],
        *(n.org_id, n.id, n.workflow_id, n.workflow_version, n.trigger_node, n.trigger_source),
        *(n.trigger_result, n.triggered_by, n.definition, n.is_simulation, n.is_dust_test),
        *(n.source_run_id, n.now_ms),
    )
    if is_queued is None:
        raise BadInput(f"run id {n.id} is already used: choose another", code=400079)
    return is_queued


async def cancel_run(db: Db, org_id: str, run_id: str) -> Run:
    """End a running or waiting run; its worker's later writes are refused by the new epoch."""
    async with transaction(db) as tx:
        if await tx.fetchval(_SQL["cancel"], org_id, run_id) is None:
            run = await get_run(tx, org_id, run_id)
            raise Conflict(f"run {run_id} is already {run.status}: only a running or waiting run can be cancelled")
        await tx.execute(_SQL["drop_timers"], org_id, run_id)
        await drop_waits_of_run(tx, org_id, run_id)
        return await get_run(tx, org_id, run_id)


async def load_facts(db: Db, org_id: str, run_id: str) -> dict[str, Any]:
    """Return what says why a run does not move, with its definition (None for one that is gone), in one query."""
    row = await db.fetchrow(_SQL["facts"], org_id, run_id)
    if row is None:
        raise NotFound(f"run {run_id} was not found: check the id")
    return dict(row.items())


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A new run made of an ended one: `kept` are node, path and whether the record is a node's end."""

    org_id: str
    source_id: str
    id: str
    by: str
    now_ms: int
    version: int
    kept: list[tuple[str, str, bool]]
    #: From a chosen node any ended run may be retried; otherwise only one that did not succeed.
    from_node: bool = False
    edited: dict[str, Any] | None = None
    trigger_result: dict[str, Any] | None = None


async def retry_run(db: Db, retry: Retry) -> Run:
    """Start a new run that keeps the given records of an ended one and does everything else again."""
    r = retry
    ended = ["failure", "partial", "cancelled", *(["success"] if r.from_node else [])]
    async with transaction(db) as tx:
        made = await tx.fetchval(
            _SQL["retry"],
            *(r.org_id, r.source_id, r.id, r.by, r.now_ms, r.version, r.trigger_result, r.edited, r.from_node, ended),
        )
        if made is None:
            run = await get_run(tx, r.org_id, r.source_id)
            what = "an ended run" if r.from_node else "a failed or cancelled run, or any ended one from a chosen node,"
            raise Conflict(f"run {run.id} is {run.status}: only {what} can be retried", code=409010)
        columns = [list(column) for column in zip(*r.kept, strict=True)] if r.kept else [[], [], []]
        await tx.execute(_SQL["copy_records"], r.org_id, r.source_id, r.id, *columns)
        return await get_run(tx, r.org_id, r.id)
