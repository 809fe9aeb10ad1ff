"""trigger-workflow: a run of another active workflow of the organization. The call's key is the event's identity.

The new run's trigger carries how deep the chain of workflows is; only what we wrote ourselves is believed, since
anyone may post a body with the same words to a webhook.
"""

from typing import Any

from b3os.detect.webhooks import webhook_result
from b3os.errors import BadInput
from b3os.ids import receipt_key, run_id_for
from b3os.run.builtins.payloads import a_text
from b3os.run.times import rfc3339
from b3os.store import workflows
from b3os.store.admission import Proposal, accept
from services.worker.effects.call import EffectCall, EffectHouse

SOURCE = "workflow"
MAX_DEPTH = 10


def depth_of(source: str, trigger_result: dict[str, Any]) -> int:
    """Return how many workflows triggered each other up to a run."""
    by = trigger_result.get("triggeredBy") if source == SOURCE else None
    return int(by["depth"]) if isinstance(by, dict) else 0


async def trigger(house: EffectHouse, call: EffectCall) -> dict[str, Any]:
    """Return {triggeredWorkflowId, triggeredWorkflowName, runId, runStatus, triggeredAt}."""
    workflow_id = a_text(call.input, "workflowId", code=400366)
    if call.depth >= MAX_DEPTH:
        raise BadInput(f"workflows trigger each other at most {MAX_DEPTH} deep: is there a circle?", code=400366)
    row = await workflows.get_workflow(house.pool, call.org_id, workflow_id)
    if row.status != "active" or row.live_version is None:
        raise BadInput(f"workflow {workflow_id} is {row.status}: publish or resume it first", code=400366)
    live = await workflows.get_workflow(house.pool, call.org_id, workflow_id, row.live_version)
    proposal = _proposal(call, live, house.now_ms())
    (outcome,) = await accept(house.pool, [proposal])
    if outcome.status == "inactive":
        raise BadInput(f"workflow {workflow_id} is no longer active: publish or resume it first", code=400366)
    if outcome.status == "accepted":
        await house.hand_over(call.org_id, outcome.run_id, outcome.is_queued)
    has_run = outcome.status in ("accepted", "duplicate") and bool(outcome.run_id)
    return {
        "triggeredWorkflowId": workflow_id,
        "triggeredWorkflowName": row.name,
        "runId": outcome.run_id if has_run else "",
        "runStatus": "running" if has_run else "skipped",
        "triggeredAt": rfc3339(proposal.now_ms),
    }


def _proposal(call: EffectCall, live: workflows.Workflow, now_ms: int) -> Proposal:
    trigger_ids = live.definition.get("triggerNodeIds") or ["root"]
    node, payload = str(trigger_ids[0]), call.input.get("payload")
    by = {"workflowId": call.workflow_id, "runId": call.run_id, "nodeId": call.node_id, "depth": call.depth + 1}
    result = webhook_result({} if payload is None else payload, {}, rfc3339(now_ms))
    receipt = receipt_key(live.id, node, f"run:{call.idempotency_key}")
    return Proposal(
        org_id=call.org_id,
        workflow_id=live.id,
        version=live.shown_version,
        node_id=node,
        receipt=receipt,
        run_id=run_id_for(receipt),
        source=SOURCE,
        result={**result, "inputs": payload if isinstance(payload, dict) else {}, "triggeredBy": by},
        now_ms=now_ms,
    )
