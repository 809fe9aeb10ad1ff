"""Runs over REST: start by hand, list, read, cancel, retry, resume a waiting node."""

import time
from typing import Any

import msgspec

from b3os.detect.webhooks import webhook_result
from b3os.errors import BadInput, InvalidDefinition
from b3os.handover import Started, hand_over
from b3os.ids import RUN, is_run_id, new_id
from b3os.inbound.resume import check_workflow, resume_node
from b3os.run.frontier import head_of, open_nodes
from b3os.run.queued import RunTask
from b3os.run.records import NodeRecord, execution_state
from b3os.run.times import rfc3339
from b3os.run.transitions import RUN_FINAL
from b3os.store import run_reads, runs, trigger_notices, workflows
from b3os.store.pool import as_org
from b3os.stream.events import RunEvent
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import Definition, normalise
from services.api.fields import CODE, SMALL_LIMIT, text, whole
from services.api.house import House
from services.api.wire import Request, page_of, time_text


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def listed(row: run_reads.Run | run_reads.RunListItem) -> dict[str, Any]:
    """Write a run as lists show it."""
    return {
        "id": row.id,
        "workflowId": row.workflow_id,
        "workflowName": row.workflow_name,
        "workflowVersion": row.workflow_version,
        "status": row.status,
        "triggerSource": row.trigger_source,
        "triggerNodeId": row.trigger_node,
        "triggeredBy": row.triggered_by,
        "sourceRunId": row.source_run_id,
        "startedAt": time_text(row.started_at),
        "finishedAt": time_text(row.finished_at),
        "isSimulation": row.is_simulation,
        "isDustTest": row.is_dust_test,
    }


async def start(house: House, request: Request) -> Any:
    """POST /v1/workflows/{id}/run"""
    house.broker.check_room()
    fields = request.fields()
    run_id = fields.get("runId") or new_id(RUN)
    if not isinstance(run_id, str) or not is_run_id(run_id):
        raise BadInput("`runId` begins with run_ and has letters, digits and _ only", code=400078)
    if fields.get("simulate") or fields.get("dustTest"):
        raise BadInput("simulate and dustTest are not offered: leave them out for a real run", code=400412)
    payload, version = fields.get("payload"), whole(fields, "version", SMALL_LIMIT)
    wanted = text(fields, "triggerNodeId")
    async with as_org(house.pool, request.org_id) as db:
        row = await workflows.get_workflow(db, request.org_id, request.params["id"], version)
        if row.status == "archived":
            raise BadInput("the workflow is archived: unarchive it first")
        definition = normalise(row.definition)
        trigger_node = wanted or definition.trigger_node_ids[0]
        if trigger_node not in definition.trigger_node_ids:
            raise BadInput(f"`triggerNodeId` {trigger_node!r} is no trigger node of this workflow", code=CODE)
        at = now_ms()
        result = webhook_result({} if payload is None else payload, {}, rfc3339(at))
        is_queued = await run_reads.create_run(
            db,
            run_reads.NewRun(
                org_id=request.org_id,
                id=run_id,
                now_ms=at,
                workflow_id=row.id,
                workflow_version=row.shown_version,
                trigger_node=trigger_node,
                trigger_result=result,
                triggered_by=request.by,
            ),
        )
    run = RunTask(request.org_id, run_id, row.id, row.shown_version, trigger_node, "manual", at, result)
    await hand_over(house.broker, [Started(run, "manual", is_queued)])
    return {"runId": run_id}


async def many(house: House, request: Request) -> Any:
    """GET /v1/runs"""
    limit, offset = request.page()
    async with as_org(house.pool, request.org_id) as db:
        rows = await run_reads.list_runs(
            db,
            request.org_id,
            workflow_id=request.first("workflowId") or None,
            statuses=request.many("status") or None,
            limit=limit + 1,
            offset=offset,
        )
    return page_of([listed(row) for row in rows], limit, offset)


async def _whole(house: House, org_id: str, run_id: str, nodes: set[str] | None) -> dict[str, Any]:
    async with as_org(house.pool, org_id) as db:
        run = await run_reads.get_run(db, org_id, run_id)
        stored = await runs.load_records(db, org_id, run_id)
        notice = await trigger_notices.of_run(db, org_id, run_id)
    records = [msgspec.convert(record, NodeRecord) for record in stored]
    definition = normalise(run.definition or {"nodes": {}})
    is_over = run.status in RUN_FINAL
    running = [] if is_over else in_flight(definition, run.trigger_node, records)
    state = execution_state(definition, records, running=running, is_over=is_over)
    trigger = definition.nodes.get(run.trigger_node)
    state["root"] = {
        "type": trigger.type if trigger else "",
        "status": "success",
        "result": run.trigger_result,
        "startedAt": time_text(run.started_at),
        "finishedAt": time_text(run.started_at),
        **state.get(run.trigger_node, {}),  # a run that could not begin failed here
    }
    if nodes is not None:
        state = {node: value for node, value in state.items() if node in nodes}
    whole = {**listed(run), "organizationId": org_id, "executionState": state, "workflowDefinition": run.definition}
    return whole if notice is None else {**whole, "trigger": shown_notice(notice)}


def shown_notice(notice: trigger_notices.Notice) -> dict[str, Any]:
    """Write what became of the chain event that started a run."""
    return {
        "state": notice.state,
        "blockNumber": notice.block,
        "blockHash": notice.block_hash,
        "settledAt": time_text(notice.settled_at),
    }


def in_flight(definition: Definition, trigger_node: str, records: list[NodeRecord]) -> list[tuple[str, str]]:
    """Return the nodes that a worker is at, which have no record; none for a definition that cannot run."""
    try:
        compiled = Compiled(definition)
    except InvalidDefinition:
        return []
    found = open_nodes(compiled, trigger_node, [head_of(record) for record in records])
    return [(one.node_id, one.path) for one in found if one.state == "running"]


async def get(house: House, request: Request) -> Any:
    """GET /v1/runs/{id}"""
    run_id = request.params["id"]
    if request.first("summary") == "true":
        async with as_org(house.pool, request.org_id) as db:
            return listed(await run_reads.get_run(db, request.org_id, run_id))
    return await _whole(house, request.org_id, run_id, set(request.many("nodeIds")) or None)


async def cancel(house: House, request: Request) -> Any:
    """POST /v1/runs/{id}/cancel"""
    async with as_org(house.pool, request.org_id) as db:
        run = await run_reads.cancel_run(db, request.org_id, request.params["id"])
    event = RunEvent(
        type="run_cancelled",
        run_id=run.id,
        org_id=run.org_id,
        workflow_id=run.workflow_id,
        seq=1_000_000,
        timestamp=now_ms(),
        status="cancelled",
    )
    await house.publisher.publish([event])
    return listed(run)


async def resume(house: House, request: Request) -> Any:
    """POST /v1/runs/{id}/nodes/{node}/resume"""
    run_id, node = request.params["id"], request.params["node"]
    if request.principal is not None:
        async with as_org(house.pool, request.org_id) as db:
            await run_reads.get_run(db, request.org_id, run_id)
        return await resume_node(house.pool, house.broker, request.org_id, run_id, node, request.fields())
    (target, *_) = await house.inbox.targets(request.first("secret"))
    await check_workflow(house.pool, target.org_id, target.workflow_id, run_id)
    return await resume_node(house.pool, house.broker, target.org_id, run_id, node, request.fields())
