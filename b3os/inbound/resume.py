"""Answers from outside to a node that waits: the run is checked against the secret, the node completed once."""

from typing import Any

from b3os.errors import BadInput, NotFound
from b3os.handover import Started, hand_over
from b3os.queue.broker import Broker
from b3os.run.queued import RunTask
from b3os.store import run_reads, runs
from b3os.store.pool import Pool


async def check_workflow(pool: Pool, org_id: str, workflow_id: str, run_id: str) -> None:
    """Raise NotFound for a run of another workflow than the one whose secret was given."""
    run = await run_reads.get_run(pool, org_id, run_id)
    if run.workflow_id != workflow_id:
        raise NotFound("the run was not found: check its id and the secret")


async def resume_node(
    pool: Pool, broker: Broker, org_id: str, run_id: str, node: str, fields: dict[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """Complete a waiting node with what a caller sent, and hand its run over."""
    context = fields.get("forEachContext") or {}
    stack = context.get("stack", []) if isinstance(context, dict) else []
    try:
        path = "/".join(f"{step['parentNodeId']}:{int(step['index'])}" for step in stack)
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput("`forEachContext.stack` is a list of {parentNodeId, index}") from error
    data = fields.get("data", fields.get("payload", {}))
    woken = await runs.resume_wait(pool, org_id, run_id, node, path, data)
    if woken is None:
        return {"action": "skipped", "reason": "the node is not waiting"}
    await hand_over(broker, [Started(RunTask(org_id, run_id), woken.source, woken.is_queued)])
    return {"action": "resumed", "reason": ""}
