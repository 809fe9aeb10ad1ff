"""What is stored of a node's execution, and the wire form of a run's state."""

from typing import Any

import msgspec

from b3os.run.times import rfc3339
from b3os.workflow.definition import Definition


class NodeError(msgspec.Struct, frozen=True):
    """Why a node failed; `category` as in the action contract (funds, amount, config, auth, network, …)."""

    code: str
    message: str
    category: str = "internal"
    remediation: str = ""
    retryable: bool = False


class NodeRecord(msgspec.Struct, frozen=True):
    """One step of a node. `path` is "" outside loops, else "loop:3/inner:0". Times are UTC milliseconds.

    A waiting node has a record with status `waiting`; its completion is a second record of the same node and path.
    """

    seq: int
    node_id: str
    path: str
    type: str
    status: str
    input: Any
    result: Any
    branch: str | None
    started_ms: int
    finished_ms: int | None


def execution_state(definition: Definition, records: list[NodeRecord]) -> dict[str, Any]:
    """Fold records into the wire's `executionState`: node id → node, iterations nested in their for-each node."""
    state: dict[str, Any] = {}
    for record in sorted(records, key=lambda r: r.seq):
        scope = state
        for step in filter(None, record.path.split("/")):
            loop, index = step.rsplit(":", 1)
            node = scope.setdefault(loop, {"type": "for-each", "status": "running"})
            iterations = node.setdefault("iterations", [])
            while len(iterations) <= int(index):
                iterations.append({})
            scope = iterations[int(index)]
        scope.setdefault(record.node_id, {}).update(_wire(record))
    for node_id, node in definition.nodes.items():
        inside = any(node_id in other.loop_body for other in definition.nodes.values())
        if not inside and node_id not in definition.trigger_node_ids:
            state.setdefault(node_id, {"type": node.type, "status": "pending"})
    return state


def _wire(record: NodeRecord) -> dict[str, Any]:
    node = {
        "type": record.type,
        "status": record.status,
        "input": record.input,
        "result": record.result,
        "startedAt": rfc3339(record.started_ms),
    }
    if record.finished_ms is not None:
        node["finishedAt"] = rfc3339(record.finished_ms)
    return node
