"""Definitions and schedulers of one line, and what they told."""

from typing import Any

from b3os.run.commands import CallAction, Command, Record, StartTimer, WriteState
from b3os.run.records import NodeRecord
from b3os.run.scheduler import RunScheduler
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise


def node(type_: str, *children: str, **more: Any) -> dict[str, Any]:
    """Write a node with its children."""
    return {"type": type_, "children": list(children), **more}


def compiled(nodes: dict[str, Any], **more: Any) -> Compiled:
    """Compile a definition of these nodes."""
    return Compiled(normalise({"nodes": nodes, **more}))


def scheduler(nodes: dict[str, Any], *, started_ms: int = 0, edited: Any = None, **result: Any) -> RunScheduler:
    """Make the scheduler of a run of these nodes; keywords are the trigger's result."""
    more = {"timeoutMs": result.pop("timeout_ms")} if "timeout_ms" in result else {}
    return RunScheduler(
        compiled(nodes, **more), run_id="run_1", org_id="org_1", workflow_id="wf_1", trigger_node="root",
        trigger_result=result, started_ms=started_ms, edited=edited,
    )  # fmt: skip


def records(commands: list[Command]) -> list[NodeRecord]:
    """Return the records in commands."""
    return [c.record for c in commands if isinstance(c, Record | StartTimer | WriteState)]


def told(commands: list[Command]) -> list[tuple[str, str, str]]:
    """Return node, path and status of each record."""
    return [(r.node_id, r.path, r.status) for r in records(commands)]


def calls(commands: list[Command]) -> list[str]:
    """Return the nodes that are called."""
    return [c.node_id for c in commands if isinstance(c, CallAction)]
