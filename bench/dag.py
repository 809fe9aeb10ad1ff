"""The cursor of a run: ten thousand nodes from start to end, against its model."""

from collections.abc import Callable
from typing import Any

from b3os._speedups.dag import Cursor, Graph
from bench.report import Gate, medians, remark
from tests.reference.dag import CursorModel, Shape

NODES = 10_000
WIDTH = 50
ITEMS = 10


def body(first: int, size: int) -> tuple[list[list[int]], list[list[str | None]]]:
    """Layers of nodes: each leads on, every tenth joins two, every twentieth takes one of two arms."""
    children: list[list[int]] = []
    labels: list[list[str | None]] = []
    for place in range(size):
        below = place + WIDTH
        if below >= size:
            children.append([])
        elif place % 20 == 0:
            children.append([first + below, first + below + 1])
        else:
            children.append([first + below])
        labels.append([None] * len(children[-1]))
        if place % 20 == 0 and len(labels[-1]) == 2:
            labels[-1] = ["then", "else"]
    return children, labels


def shape() -> Shape:
    """A loop of ten items over 999 nodes, and nine nodes beside it: a run of ten thousand."""
    inner, labels = body(2, (NODES - 1) // ITEMS)
    size = 2 + len(inner)
    beside = list(range(size, size + NODES - 1 - len(inner) * ITEMS))
    children = [[1, *beside], [], *inner, *([] for _ in beside)]
    bodies = [[], list(range(2, 2 + WIDTH)), *([] for _ in children[2:])]
    found = Shape(children, [[None] * len(children[0]), [], *labels, *([] for _ in beside)], bodies, [0])
    found.ids = [f"n{number}" for number in range(len(children))]
    return found


def run(cursor: Any) -> int:
    """Bring a run to its end, a batch of ready nodes at a time."""
    loop, *beside = cursor.start()
    cursor.complete(beside)
    labels = ["then"] * WIDTH
    ready = cursor.enter(loop, ITEMS)
    while ready:
        ready, _, ended = cursor.complete(ready, labels[: len(ready)])
        if ended:
            ready = cursor.advance(loop)
    cursor.complete([loop])
    assert cursor.is_done
    return int(cursor.counted)


def compiled(own: Shape) -> Callable[[], int]:
    """Make the act of running on the compiled graph, which is compiled once per version."""
    graph = Graph(own.ids, own.children, own.labels, own.bodies, own.roots)
    return lambda: run(Cursor(graph, 0))


def against_model() -> float:
    """The obvious model over the compiled cursor."""
    own = shape()
    fast, slow = medians(9, compiled(own), lambda: run(CursorModel(own, 0)))
    return slow / fast


def milliseconds() -> float:
    """One run of ten thousand nodes."""
    act = compiled(shape())
    count = act()
    (taken,) = medians(51, act)
    remark(f"{count} nodes, {taken / count * 1e9:.0f} ns a node; saved state {len(saved())} bytes")
    return taken * 1000


def saved() -> bytes:
    """The state of a run at its beginning."""
    own = shape()
    cursor = Cursor(Graph(own.ids, own.children, own.labels, own.bodies, own.roots), 0)
    cursor.start()
    return cursor.save()


GATES = (
    Gate(
        name="dag: 10,000-node run, model / compiled", bar=5, at_least=True, measure=against_model, is_quick=True,
        reason="compiling would not pay",
    ),
    Gate(
        name="dag: 10,000-node run", unit="ms", bar=1, measure=milliseconds, is_quick=True,
        reason="bookkeeping would show in a worker's profile",
    ),
)  # fmt: skip
