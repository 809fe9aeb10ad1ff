"""Which nodes of a run are open now, from what is stored of it. Pure; no expression is evaluated.

A worker does not store that a call is in flight: it calls right after its commit. What is ready in the graph and has
no record is therefore in hand, or waits for its turn.
"""

from collections import deque
from collections.abc import Iterable

import msgspec

from b3os.errors import BudgetExceeded
from b3os.run.records import NodeRecord, label_of
from b3os.run.transitions import NODE_FINAL
from b3os.workflow.compiled import Compiled


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A stored record without its input and result; `items` is how many a loop has, `retry_ms` when a retry is due."""

    node_id: str
    path: str
    type: str
    status: str
    seq: int = 0
    branch: str | None = None
    attempt: int = 1
    started_ms: int = 0
    finished_ms: int | None = None
    items: int | None = None
    retry_ms: int | None = None
    error_code: str = ""
    error_message: str = ""
    is_retryable: bool = False


def head_of(record: NodeRecord) -> Head:
    """Return the head of a whole record."""
    items = record.input.get("array") if record.type == "for-each" and isinstance(record.input, dict) else None
    return Head(
        node_id=record.node_id, path=record.path, type=record.type, status=record.status, seq=record.seq,
        branch=record.branch, attempt=record.attempt, started_ms=record.started_ms, finished_ms=record.finished_ms,
        items=len(items) if isinstance(items, list) else None,
    )  # fmt: skip


class OpenNode(msgspec.Struct, frozen=True):
    """A node that has begun, or could; `state` is running, waiting or scheduled."""

    node_id: str
    path: str
    type: str
    state: str
    head: Head | None = None


def open_nodes(compiled: Compiled, trigger_node: str, heads: Iterable[Head]) -> list[OpenNode]:
    """Walk the graph along what is stored and return where it stops, in order; loops that go on are not listed."""
    stored: dict[tuple[str, str], Head] = {}
    for head in heads:
        if head.status in NODE_FINAL or (head.node_id, head.path) not in stored:
            stored[head.node_id, head.path] = head
    return _Walk(compiled, trigger_node, stored).all()


class _Walk:
    def __init__(self, compiled: Compiled, trigger_node: str, stored: dict[tuple[str, str], Head]) -> None:
        self._compiled, self._graph, self._stored = compiled, compiled.graph, stored
        self._cursor = compiled.cursor(trigger_node)
        self._paths: dict[int, str] = {-1: ""}
        self._found: list[OpenNode] = []

    def all(self) -> list[OpenNode]:
        todo = deque(self._cursor.start())
        while todo:
            try:
                todo.extendleft(reversed(self._step(todo.popleft())))
            except BudgetExceeded:
                break
        return self._found

    def _step(self, number: int) -> list[int]:
        path = self._paths[self._graph.loop_of(number)]
        node_id, node = self._graph.ids[number], self._compiled.nodes[number]
        head = self._stored.get((node_id, path))
        if head is not None and node.type == "for-each" and head.items is not None and head.status != "failure":
            ready = self._cursor.enter(number, head.items)
            self._paths[number] = self._inside(number, path, 0)
            return ready or self._settle(number, head)
        if head is None or head.status not in NODE_FINAL:
            state = "running" if head is None else head.status
            self._found.append(OpenNode(node_id, path, node.type, state, head))
            return []
        if head.status == "failure" and node.on_error not in ("continue", "branch"):
            return []
        return self._settle(number, head)

    def _settle(self, number: int, head: Head) -> list[int]:
        label = label_of(self._compiled.nodes[number], head.status, head.branch)
        ready, _, ended = self._cursor.complete([number], [label])
        for loop in ended:
            outer = self._paths[self._graph.loop_of(loop)]
            ready += self._cursor.advance(loop) or self._left(loop, outer)
            self._paths[loop] = self._inside(loop, outer, self._cursor.iteration(loop))
        return ready

    def _left(self, loop: int, outer: str) -> list[int]:
        head = self._stored[self._graph.ids[loop], outer]
        if head.status in NODE_FINAL:
            return self._settle(loop, head)
        self._found.append(OpenNode(self._graph.ids[loop], outer, "for-each", "running", head))
        return []

    def _inside(self, loop: int, outer: str, index: int) -> str:
        step = f"{self._graph.ids[loop]}:{index}"
        return f"{outer}/{step}" if outer else step
