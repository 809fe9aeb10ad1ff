"""Bookkeeping of one scope of a run: the graph itself, or one iteration of a loop body.

A node is ready when every incoming edge of its scope is finished or skipped and at least one was taken.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from b3os.workflow.definition import Definition


class Frame:
    """Counts of edges for the nodes reachable from `entries`."""

    def __init__(self, definition: Definition, entries: Iterable[str], path: str, scope: dict[str, Any]) -> None:
        self.path = path
        #: What expressions see here beyond the enclosing scope: results of this scope, and the loop's variables.
        self.scope = scope
        self._nodes = definition.nodes
        self.entries = tuple(entries)
        self._pending: dict[str, int] = dict.fromkeys(self.entries, 0)
        todo = deque(self.entries)
        while todo:
            for child in self._nodes[todo.popleft()].children:
                if child not in self._pending:
                    self._pending[child] = 0
                    todo.append(child)
        for node_id in self._pending:
            for child in self._nodes[node_id].children:
                self._pending[child] += 1
        self._taken: set[str] = set(self.entries)
        self._open = len(self._pending)

    @property
    def is_done(self) -> bool:
        """Whether every node of the scope is finished or skipped."""
        return self._open == 0

    def first(self) -> list[str]:
        """Return the nodes that may run at once, in order."""
        return [node_id for node_id in self.entries if self._pending[node_id] == 0]

    def finish(self, node_id: str, branch: str | None) -> tuple[list[str], list[str]]:
        """Finish a node; returns the nodes now ready, and those now skipped, each in order."""
        ready: list[str] = []
        skipped: list[str] = []
        todo: deque[tuple[str, str | None, bool]] = deque([(node_id, branch, True)])
        while todo:
            current, taken_branch, ran = todo.popleft()
            self._open -= 1
            for child in self._nodes[current].children:
                wanted = self._nodes[child].branch
                if ran and (wanted is None or taken_branch is None or wanted == taken_branch):
                    self._taken.add(child)
                self._pending[child] -= 1
                if self._pending[child]:
                    continue
                if child in self._taken:
                    ready.append(child)
                else:
                    skipped.append(child)
                    todo.append((child, None, False))
        return ready, skipped
