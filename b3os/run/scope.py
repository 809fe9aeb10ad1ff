"""What expressions of a run see: the run's own names, the results of nodes, and the loops around a node. Pure.

A node has at most one live result, since a loop's items run one after another: all results are in one view, and a
loop takes those of its body out when an iteration ends. The names of the loops around a node are put in before it is
rendered.
"""

from typing import Any

from b3os.run.loops import Loop
from b3os.run.records import NodeRecord
from b3os.workflow.definition import Node

LOOP_NAMES = ("$item", "$index", "$parent_item", "$parent_index", "$for")


class Scope:
    """The view of one run."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._view = names
        #: The iteration whose variables are in the view.
        self._shown = ""

    def put(self, node: Node, record: NodeRecord, around: Loop | None, own: Loop | None) -> None:
        """Make a finished node visible; `own` is the loop that it was itself."""
        seen: dict[str, Any] = {"result": record.result, "input": record.input, "payload": node.payload}
        if record.status == "failure":
            seen["error"] = (record.result or {}).get("error")
        if own is not None:
            seen["iterations"] = own.iterations
        self._view[record.node_id] = seen
        if around is not None:
            around.note(record)

    def leave_iteration(self, loop: Loop) -> None:
        """Hide what the iteration did: the next one must not see it, nor what comes after the loop."""
        for node_id in loop.iterations[-1]:
            self._view.pop(node_id, None)

    def seen_from(self, loop: Loop | None) -> dict[str, Any]:
        """Return what a node in this iteration sees; valid until the next call."""
        path = loop.path if loop else ""
        if path != self._shown:
            for name in LOOP_NAMES:
                self._view.pop(name, None)
            if loop is not None:
                self._view.update(loop.names())
            self._shown = path
        return self._view
