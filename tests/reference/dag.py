"""A run's walk through its graph as plain Python: a frame of counts for each iteration, by its path; nothing shared."""

from collections import deque
from collections.abc import Sequence

from b3os.errors import BudgetExceeded


class Shape:
    """A graph as lists of numbers, as it was given."""

    def __init__(
        self, children: list[list[int]], labels: list[list[str | None]], bodies: list[list[int]], roots: list[int]
    ) -> None:
        self.children, self.labels, self.bodies, self.roots = children, labels, bodies, roots
        self.ids = [f"n{number}" for number in range(len(children))]

    def reach(self, entries: list[int]) -> list[int]:
        found = dict.fromkeys(entries)
        todo = deque(found)
        while todo:
            for child in self.children[todo.popleft()]:
                if child not in found:
                    found[child] = None
                    todo.append(child)
        return list(found)


class Frame:
    """Counts of one scope, for one iteration of it."""

    def __init__(self, shape: Shape, entries: list[int], loop: "tuple[Frame, int] | None", depth: int) -> None:
        self.loop, self.depth, self.entries = loop, depth, entries
        members = shape.reach(entries)
        self.pending = dict.fromkeys(members, 0)
        for node in members:
            for child in shape.children[node]:
                self.pending[child] += 1
        self.taken = set(entries)
        self.open = len(members)


class CursorModel:
    """One run."""

    def __init__(self, shape: Shape, root: int, *, node_limit: int = 10_000) -> None:
        self.shape, self.root, self.limit = shape, root, node_limit
        self.counted = 0
        self.running: dict[int, Frame] = {}
        self.items: dict[int, tuple[int, int]] = {}
        self.left: set[int] = set()
        self.top: Frame | None = None

    @property
    def is_done(self) -> bool:
        return self.top is not None and self.top.open == 0

    def start(self) -> list[int]:
        self.top = Frame(self.shape, self.shape.children[self.root], None, 0)
        return self._begin(self.top)

    def complete(
        self, nodes: Sequence[int], labels: Sequence[str | None] | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        ready: list[int] = []
        skipped: list[int] = []
        ended: list[int] = []
        for place, node in enumerate(nodes):
            frame = self.running.pop(node)
            assert node not in self.items
            self.left.discard(node)
            self._settle(frame, node, labels[place] if labels else None, ready, skipped)
            if frame.open == 0 and frame.loop is not None:
                ended.append(frame.loop[1])
        return ready, skipped, ended

    def enter(self, loop: int, items: int) -> list[int]:
        frame = self.running[loop]
        if items > 100:
            raise BudgetExceeded(limit="iterations", allowed=100, node=self.shape.ids[loop])
        if frame.depth >= 10:
            raise BudgetExceeded(limit="depth", allowed=10, node=self.shape.ids[loop])
        if not items or not self.shape.bodies[loop]:
            self.left.add(loop)
            return []
        self.items[loop] = (0, items)
        return self._begin(Frame(self.shape, self.shape.bodies[loop], (frame, loop), frame.depth + 1))

    def advance(self, loop: int) -> list[int]:
        index, items = self.items[loop]
        if index + 1 == items:
            del self.items[loop]
            self.left.add(loop)
            return []
        self.items[loop] = (index + 1, items)
        frame = self.running[loop]
        return self._begin(Frame(self.shape, self.shape.bodies[loop], (frame, loop), frame.depth + 1))

    def ready(self) -> list[int]:
        return sorted(self.running)

    def _begin(self, frame: Frame) -> list[int]:
        first = [node for node in dict.fromkeys(frame.entries) if not frame.pending[node]]
        for node in first:
            self._count(node)
            self.running[node] = frame
        return first

    def _settle(self, frame: Frame, node: int, label: str | None, ready: list[int], skipped: list[int]) -> None:
        todo: deque[tuple[int, str | None, bool]] = deque([(node, label, True)])
        while todo:
            current, outcome, ran = todo.popleft()
            frame.open -= 1
            for child, wanted in zip(self.shape.children[current], self.shape.labels[current], strict=True):
                if ran and (outcome != "error" if wanted is None else wanted == outcome):
                    frame.taken.add(child)
                frame.pending[child] -= 1
                if frame.pending[child]:
                    continue
                self._count(child)
                if child in frame.taken:
                    ready.append(child)
                    self.running[child] = frame
                else:
                    skipped.append(child)
                    todo.append((child, None, False))

    def _count(self, node: int) -> None:
        if self.counted >= self.limit:
            raise BudgetExceeded(limit="nodes", allowed=self.limit, node=self.shape.ids[node])
        self.counted += 1
