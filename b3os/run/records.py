"""What is stored of a node's execution, and the wire form of a run's state."""

from collections.abc import Iterable
from typing import Any

import msgspec

from b3os.run.times import rfc3339
from b3os.run.transitions import NODE_FINAL
from b3os.workflow.definition import Definition, Node


class NodeError(msgspec.Struct, frozen=True):
    """Why a node failed; `category` as in the action contract (funds, amount, config, auth, network, …)."""

    code: str
    message: str
    category: str = "internal"
    remediation: str = ""
    retryable: bool = False


class NodeRecord(msgspec.Struct, frozen=True):
    """One step of a node. `path` is "" outside loops, else "loop:3/inner:0". Times are UTC milliseconds.

    A node that has not ended may have a record `waiting`, `scheduled` (a retry) or `running` (a loop); its end is a
    second record of the same node and path. `attempt` counts from 1; of a scheduled node it is the next one.
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
    attempt: int = 1


def label_of(node: Node, status: str, branch: str | None) -> str | None:
    """Return the label that a finished node leaves by: its branch, or `error` where a failure has a branch."""
    return "error" if status == "failure" and node.on_error == "branch" else branch


def execution_state(
    definition: Definition, records: list[NodeRecord], *, running: Iterable[tuple[str, str]] = (), is_over: bool = False
) -> dict[str, Any]:
    """Fold records into the wire's `executionState`: node id → node, iterations nested in their for-each node.

    `running` are nodes in flight, which have no record; of a run that is over, what has not ended was cancelled.
    """
    state: dict[str, Any] = {}
    ordered = sorted(records, key=lambda r: r.seq)
    for record in ordered:
        wire = _wire(record)
        if is_over and record.status not in NODE_FINAL:
            wire["status"] = "cancelled"
        _place(state, record.path).setdefault(record.node_id, {}).update(wire)
    for node_id, path in running:
        node = definition.nodes[node_id]
        _place(state, path).setdefault(node_id, {}).update({"type": node.type, "status": "running"})
    if is_over and ordered and ordered[-1].status == "failure":
        _fail_around(state, ordered[-1].path)
    inside = {node_id for node in definition.nodes.values() for node_id in _body(definition, node)}
    for node_id, node in definition.nodes.items():
        if node_id not in inside and node_id not in definition.trigger_node_ids:
            state.setdefault(node_id, {"type": node.type, "status": "pending"})
    return state


def _place(state: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the map of nodes of one iteration, made where it is missing."""
    scope = state
    for step in filter(None, path.split("/")):
        loop, index = step.rsplit(":", 1)
        node = scope.setdefault(loop, {"type": "for-each", "status": "running"})
        iterations = node.setdefault("iterations", [])
        while len(iterations) <= int(index):
            iterations.append({})
        scope = iterations[int(index)]
    return scope


def _fail_around(state: dict[str, Any], path: str) -> None:
    """Show the loops around the node that ended the run as failed."""
    scope = state
    for step in filter(None, path.split("/")):
        loop, index = step.rsplit(":", 1)
        scope[loop]["status"] = "failure"
        scope = scope[loop]["iterations"][int(index)]


def _body(definition: Definition, loop: Node) -> set[str]:
    """Return the nodes of a loop's body."""
    found = definition.nodes.keys() & set(loop.loop_body)
    todo = list(found)
    while todo:
        for child in definition.nodes[todo.pop()].children:
            if child not in found and child in definition.nodes:
                found.add(child)
                todo.append(child)
    return found


def _wire(record: NodeRecord) -> dict[str, Any]:
    node = {
        "type": record.type,
        "status": record.status,
        "input": record.input,
        "result": record.result,
        "startedAt": rfc3339(record.started_ms),
    }
    if record.attempt > 1:
        node["attempt"] = record.attempt
    if record.finished_ms is not None:
        node["finishedAt"] = rfc3339(record.finished_ms)
    return node
