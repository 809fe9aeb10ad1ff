"""The compiled cursor against its model over generated graphs and histories, saved and restored at every point."""

import contextlib
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3os._speedups.dag import MAX_DEPTH, MAX_ITERATIONS, Cursor, Graph
from b3os.errors import BudgetExceeded
from tests.examples import examples
from tests.reference.dag import CursorModel, Shape

LABELS = st.sampled_from([None, None, None, "then", "else", "error"])


def graph_of(shape: Shape) -> Graph:
    return Graph(shape.ids, shape.children, shape.labels, shape.bodies, shape.roots)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """A graph of nested scopes, each a random DAG with labels; two roots share the outer one."""
    shape = Shape([], [], [], [])

    def node() -> int:
        shape.children.append([])
        shape.labels.append([])
        shape.bodies.append([])
        return len(shape.children) - 1

    def scope(depth: int) -> list[int]:
        own = [node() for _ in range(draw(st.integers(1, 5)))]
        for place, number in enumerate(own):
            later = own[place + 1 :]
            if later:
                shape.children[number] = draw(st.lists(st.sampled_from(later), max_size=3))
                shape.labels[number] = [draw(LABELS) for _ in shape.children[number]]
            if depth < 3 and draw(st.integers(0, 3)) == 0:
                inner = scope(depth + 1)
                shape.bodies[number] = draw(st.lists(st.sampled_from(inner), min_size=1, max_size=3))
        return own

    shape.roots = [node(), node()]
    top = scope(0)
    for root in shape.roots:
        shape.children[root] = draw(st.lists(st.sampled_from(top), max_size=4))
        shape.labels[root] = [None] * len(shape.children[root])
    shape.ids = [f"n{number}" for number in range(len(shape.children))]
    return shape


class History:
    """Does the same to a cursor and to its model, and saves and restores the cursor before each step."""

    def __init__(self, shape: Shape, root: int, limit: int) -> None:
        self.graph = graph_of(shape)
        self.cursor, self.model = (
            Cursor(self.graph, root, node_limit=limit),
            CursorModel(shape, root, node_limit=limit),
        )
        self.shape = shape

    def both(self, name: str, *args: Any) -> Any:
        """Call both; returns None when both are over their budget."""
        saved = self.cursor.save()
        self.cursor = Cursor.restore(self.graph, saved)
        assert self.cursor.save() == saved
        answers = []
        for one in (self.cursor, self.model):
            try:
                answers.append(getattr(one, name)(*args))
            except BudgetExceeded as error:
                answers.append((error.limit, error.node))
        assert answers[0] == answers[1]
        if answers[0] and answers[0][0] == "nodes":
            assert self.cursor.is_spent
            return None
        assert self.cursor.is_done == self.model.is_done
        assert self.cursor.counted == self.model.counted
        assert self.cursor.ready() == self.model.ready()
        return answers[0]


@settings(max_examples=examples(400))
@given(shapes(), st.data())
def test_every_history_is_the_models(shape: Shape, data: st.DataObject) -> None:
    history = History(shape, data.draw(st.sampled_from(shape.roots)), data.draw(st.sampled_from([4, 30, 10_000])))
    ready = history.both("start")
    while ready is not None and not history.model.is_done:
        step = data.draw(st.integers(0, 3))
        loops = [n for n in history.model.ready() if shape.bodies[n] and n not in history.model.items]
        over = [n for n in history.model.items if history.model.running.keys().isdisjoint(inside(shape, n))]
        if over:
            ready = history.both("advance", data.draw(st.sampled_from(over)))
        elif loops and step == 0 and not history.model.left:
            ready = history.both("enter", loops[0], data.draw(st.sampled_from([0, 1, 2, 3])))
        else:
            free = [n for n in history.model.ready() if n not in history.model.items]
            batch = data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=4, unique=True))
            labels = [data.draw(LABELS | st.just("unheard of")) for _ in batch]
            ready = history.both("complete", batch, labels if step else None)


def inside(shape: Shape, loop: int) -> set[int]:
    found = set(shape.reach(shape.bodies[loop]))
    return found.union(*(inside(shape, n) for n in found if shape.bodies[n]))


@given(shapes(), st.data())
def test_a_batch_is_its_nodes_one_after_the_other(shape: Shape, data: st.DataObject) -> None:
    graph = graph_of(shape)
    whole, single = Cursor(graph, shape.roots[0]), Cursor(graph, shape.roots[0])
    assert whole.start() == single.start()
    while batch := data.draw(st.permutations(whole.ready())):
        labels = [data.draw(LABELS) for _ in batch]
        parts = [single.complete([node], [label]) for node, label in zip(batch, labels, strict=True)]
        assert whole.complete(batch, labels) == tuple([n for part in parts for n in part[k]] for k in range(3))
        assert whole.save() == single.save()


def chain(length: int, bodies: list[list[int]] | None = None) -> Graph:
    """A root and a chain behind it."""
    children = [[n + 1] for n in range(length)] + [[]]
    labels: list[list[str | None]] = [["then"], *([None] for _ in range(length - 1)), []]
    ids = [str(n) for n in range(length + 1)]
    return Graph(ids, children, labels, bodies or [[]] * (length + 1), [0])


def test_a_million_nodes_are_skipped_and_finished_without_recursion() -> None:
    size = 1_000_000
    children = [[1], [2, *range(size + 2, 2 * size + 2)], *([n + 1] for n in range(2, size + 1)), []]
    children += [[] for _ in range(size)]
    labels: list[list[str | None]] = [[None] * len(own) for own in children]
    labels[1][0] = "then"
    graph = Graph([str(n) for n in range(len(children))], children, labels, [[]] * len(children), [0])
    cursor = Cursor(graph, 0, node_limit=3 * size)
    cursor.start()
    ready, skipped, _ = cursor.complete([1], ["else"])
    assert (len(ready), len(skipped)) == (size, size)
    assert Cursor.restore(graph, cursor.save()).ready() == ready
    assert cursor.complete(ready) == ([], [], [])
    assert cursor.is_done


def nested(levels: int) -> Graph:
    """A loop in a loop in a loop."""
    bodies = [[], *([n + 1] for n in range(1, levels)), []]
    children = [[1], *([] for _ in range(levels))]
    labels: list[list[str | None]] = [[None], *([] for _ in range(levels))]
    return Graph([f"n{n}" for n in range(levels + 1)], children, labels, bodies, [0])


def test_budgets_name_their_node_and_leave_the_rest_as_it_was() -> None:
    graph = nested(MAX_DEPTH + 2)
    cursor = Cursor(graph, 0)
    cursor.start()
    with pytest.raises(BudgetExceeded, match=r"iterations budget of 100 exceeded at node n1"):
        cursor.enter(1, MAX_ITERATIONS + 1)
    for level in range(1, MAX_DEPTH + 1):
        assert cursor.enter(level, MAX_ITERATIONS) == [level + 1]
    with pytest.raises(BudgetExceeded, match="depth budget of 10 exceeded at node n11"):
        cursor.enter(MAX_DEPTH + 1, 1)
    assert cursor.complete([MAX_DEPTH + 1]) == ([], [], [MAX_DEPTH])
    assert cursor.advance(MAX_DEPTH) == [MAX_DEPTH + 1]


def test_node_budget_counts_what_is_run_or_skipped_and_ends_the_cursor() -> None:
    cursor = Cursor(chain(10), 0, node_limit=5)
    assert cursor.start() == [1]
    for node in range(1, 5):
        assert cursor.complete([node])[0] == [node + 1]
    with pytest.raises(BudgetExceeded, match="nodes budget of 5 exceeded at node 6"):
        cursor.complete([5])
    with pytest.raises(ValueError, match="cursor has ended"):
        cursor.complete([6])
    assert Cursor.restore(cursor.graph, cursor.save()).is_spent


@pytest.mark.parametrize(
    ("children", "bodies", "text"),
    [
        ([[1], [1]], [[], []], "cycle"),
        ([[1], [2], [1]], [[], [], []], "cycle"),
        ([[], [], []], [[], [2], [1]], "cycle"),
        ([[1], []], [[], [1]], "inside a loop and outside"),
        ([[1, 2], [], []], [[], [2], []], "inside a loop and outside"),
        ([[1, 2], [], [], []], [[], [3], [3], []], "inside a loop and outside"),
        ([[1], [], [1]], [[], [2], []], "inside a loop and outside"),
        ([[1], [7]], [[], []], "leads to 7"),
        ([[1]], [[]], "leads to 1"),
        ([[1], []], [[]], "one name"),
    ],
)
def test_what_is_no_graph_is_refused(children: list[list[int]], bodies: list[list[int]], text: str) -> None:
    labels: list[list[str | None]] = [[None] * len(own) for own in children]
    with pytest.raises(ValueError, match=text):
        Graph([str(n) for n in range(len(children))], children, labels, bodies, [0])


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.start(),
        lambda c: c.complete([2]),
        lambda c: c.complete([1, 1]),
        lambda c: c.complete([1, 99]),
        lambda c: c.complete([1, -1]),
        lambda c: c.complete([1, 2**40]),
        lambda c: c.complete([1, "1"]),
        lambda c: c.complete([1], []),
        lambda c: c.complete([1], [[]]),
        lambda c: c.enter(2, 1),
        lambda c: c.enter(1, -1),
        lambda c: c.advance(1),
        lambda c: c.iteration(99),
        lambda c: Cursor(c.graph, 1),
        lambda c: c.graph.loop_of(99),
        lambda c: c.graph.number("x"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(act: Any) -> None:
    cursor = Cursor(chain(5), 0)
    cursor.start()
    before = cursor.save()
    with pytest.raises((ValueError, TypeError, OverflowError, KeyError)):
        act(cursor)
    assert cursor.save() == before


@given(shapes(), st.data())
def test_damaged_bytes_are_a_value_error_or_a_state_that_still_ends(shape: Shape, data: st.DataObject) -> None:
    """Even with the checksum made right again, what is read back is consistent: the run can be brought to its end."""
    graph = graph_of(shape)
    cursor = Cursor(graph, shape.roots[0])
    walk(cursor, shape, data.draw(st.integers(0, 12)))
    saved = bytearray(cursor.save())
    with pytest.raises(ValueError, match="checksum"):
        Cursor.restore(graph, bytes([*saved[:-1], saved[-1] ^ 1]))
    for _ in range(data.draw(st.integers(1, 3))):
        saved[data.draw(st.integers(0, len(saved) - 5))] = data.draw(st.integers(0, 255))
    body = bytes(saved[: data.draw(st.sampled_from([len(saved) - 4] * 5 + [9, len(saved) - 5]))])
    with contextlib.suppress(ValueError, BudgetExceeded):
        found = Cursor.restore(graph, body + zlib.crc32(body).to_bytes(4, "little"))
        if not found.is_spent:
            walk(found, shape, 100_000)
            assert found.is_done


def walk(cursor: Cursor, shape: Shape, steps: int) -> None:
    """Go on with a cursor, loops twice around."""
    with contextlib.suppress(ValueError):
        cursor.start()
    for _ in range(steps):
        ready = cursor.ready()
        if not ready:
            return
        for node in reversed(ready):
            with contextlib.suppress(ValueError):
                if shape.bodies[node] and cursor.enter(node, 2):
                    break
            with contextlib.suppress(ValueError):
                cursor.complete([node])
                break
            with contextlib.suppress(ValueError):
                cursor.advance(node)
                break
        else:
            raise AssertionError("nothing can go on")


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(ValueError, match="state"):
        Cursor.restore(chain(5), noise)


def test_bytes_of_another_graph_are_refused() -> None:
    saved = Cursor(chain(5), 0).save()
    with pytest.raises(ValueError, match="another graph"):
        Cursor.restore(chain(6), saved)


def test_state_is_compact() -> None:
    cursor = Cursor(chain(10_000), 0)
    cursor.start()
    assert len(cursor.save()) < 10_000 / 2 + 40
