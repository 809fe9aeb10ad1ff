"""A run again, and why one does not move: retry, with the node, input and version of the caller's choice, and why."""

from typing import Any

import msgspec

from b3os.errors import BadInput, InvalidDefinition, NotFound
from b3os.handover import Started, hand_over
from b3os.ids import RUN, new_id
from b3os.run.again import check_start, check_version, kept
from b3os.run.frontier import Head
from b3os.run.queued import RunTask
from b3os.run.transitions import NODE_FINAL
from b3os.run.why import Facts, Why
from b3os.run.why import why as answer
from b3os.store import run_reads, workflows
from b3os.store.pool import Connection, as_org
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise
from services.api.fields import SMALL_LIMIT, record, text, whole
from services.api.house import House
from services.api.runs import listed, now_ms
from services.api.wire import Request


class Wish(msgspec.Struct, frozen=True):
    """The body of a retry; everything may be left out."""

    from_node_id: str | None = None
    path: str = ""
    input: dict[str, Any] | None = None
    version: int | str | None = None


async def why(house: House, request: Request) -> Why:
    """GET /v1/runs/{id}/why"""
    async with as_org(house.pool, request.org_id) as db:
        found = await run_reads.load_facts(db, request.org_id, request.params["id"])
    return answer(_compiled_or_none(found.pop("definition")), msgspec.convert(found, Facts))


async def retry(house: House, request: Request) -> Any:
    """POST /v1/runs/{id}/retry"""
    house.broker.check_room()
    wish = _wish(request.fields())
    async with as_org(house.pool, request.org_id) as db:
        run = await run_reads.get_run(db, request.org_id, request.params["id"])
        made = await run_reads.retry_run(db, await _plan(db, request, run, wish))
    await hand_over(house.broker, [Started(RunTask(made.org_id, made.id), "retry", made.is_queued)])
    return {**listed(made), "runId": made.id}


def _wish(fields: dict[str, Any]) -> Wish:
    version = fields.get("version")
    wish = Wish(
        from_node_id=text(fields, "fromNodeId"),
        path=text(fields, "path") or "",
        input=record(fields, "input"),
        version=version if version == "latest" else whole(fields, "version", SMALL_LIMIT),
    )
    if wish.from_node_id is None and (wish.input is not None or wish.path):
        raise BadInput("`input` and `path` belong to a node: name it in `fromNodeId`", code=400357)
    return wish


async def _plan(db: Connection, request: Request, run: run_reads.Run, wish: Wish) -> run_reads.Retry:
    version, new = await _version(db, run, wish)
    facts = await run_reads.load_facts(db, run.org_id, run.id)
    heads = msgspec.convert(facts["heads"], list[Head])
    old = _compiled_or_none(run.definition) or new
    start, edited, trigger_result = None, None, None
    if run.trigger_node not in new.definition.trigger_node_ids:
        raise BadInput(f"this version has no trigger {run.trigger_node!r}: choose another version", code=400354)
    if wish.from_node_id == run.trigger_node:
        heads, trigger_result = [], wish.input
    elif wish.from_node_id is not None:
        start = (wish.from_node_id, check_start(new, wish.from_node_id, wish.path))
        if wish.input is not None:
            edited = {"node_id": start[0], "path": start[1], "input": wish.input}
    found = kept(old, new, heads, start)
    check_version(new, found)
    return run_reads.Retry(
        org_id=run.org_id,
        source_id=run.id,
        id=new_id(RUN),
        by=request.by,
        now_ms=now_ms(),
        version=version,
        kept=[(head.node_id, head.path, head.status in NODE_FINAL) for head in found],
        from_node=wish.from_node_id is not None,
        edited=edited,
        trigger_result=trigger_result,
    )


async def _version(db: Connection, run: run_reads.Run, wish: Wish) -> tuple[int, Compiled]:
    """Return the version that the retry runs, compiled; raises InvalidDefinition for one that cannot run."""
    if wish.version is None:
        return run.workflow_version, Compiled(normalise(run.definition or {"nodes": {}}))
    if not run.workflow_id:
        raise BadInput("the run carries its own definition and has no versions: leave `version` out", code=400358)
    wanted = None if wish.version == "latest" else int(wish.version)
    try:
        row = await workflows.get_workflow(db, run.org_id, run.workflow_id, wanted)
    except NotFound as error:
        raise BadInput(f"the workflow has no version {wish.version}: see its versions", code=400358) from error
    return row.shown_version, Compiled(normalise(row.definition))


def _compiled_or_none(raw: dict[str, Any] | None) -> Compiled | None:
    try:
        return Compiled(normalise(raw or {"nodes": {}}))
    except InvalidDefinition:
        return None
