"""A for-each in progress: its items, the iteration it is at, and what each iteration did. Pure.

The items are stored when the loop begins: a restored run goes on with the same ones, whatever they were made from.
"""

from typing import Any

from b3os.errors import BadInput
from b3os.run.records import NodeRecord


class Loop:
    """A loop in progress: `path` is that of the iteration in progress."""

    def __init__(self, node_id: str, items: list[Any], outer: "Loop | None", started_ms: int) -> None:
        self.node_id = node_id
        self.items = items
        self.outer = outer
        self.started_ms = started_ms
        self.index = 0
        self.path = ""
        #: What each iteration did, in order: node id -> status and result.
        self.iterations: list[dict[str, Any]] = []

    def at(self, index: int) -> None:
        """Begin an iteration."""
        self.index = index
        step = f"{self.node_id}:{index}"
        self.path = f"{self.outer.path}/{step}" if self.outer else step
        self.iterations.append({})

    def names(self) -> dict[str, Any]:
        """Return the variables of the iteration, and those of the loops around it."""
        around = {} if self.outer is None else self.outer.names()
        item = self.items[self.index]
        names = {"$item": item, "$index": self.index}
        if self.outer is not None:
            names |= {"$parent_item": around["$item"], "$parent_index": around["$index"]}
        names["$for"] = {**around.get("$for", {}), self.node_id: {"item": item, "index": self.index}}
        return names

    def note(self, record: NodeRecord) -> None:
        """Keep what a node of the iteration did."""
        self.iterations[-1][record.node_id] = {"status": record.status, "result": record.result}

    def result(self) -> dict[str, Any]:
        """Return the result of the whole loop."""
        count = len(self.items)
        return {
            "iterations": [{"index": index} for index in range(count)],
            "iterationCount": count,
            "lastAdvancedIteration": count - 1,
            "status": "completed",
        }


def items_begun(record: NodeRecord | None) -> list[Any] | None:
    """Return the items that a loop began with, None for one that did not, or whose items were too large to keep."""
    kept = record.input.get("array") if record is not None and isinstance(record.input, dict) else None
    return kept if isinstance(kept, list) else None


def items_of(input_: Any) -> list[Any]:
    """Return the items of a loop that begins."""
    items = input_.get("array")
    if not isinstance(items, list):
        raise BadInput(f"`array` is not a list: it is {type(items).__name__}. Check the expression.", code=400311)
    return items
