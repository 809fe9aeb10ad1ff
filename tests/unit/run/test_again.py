"""What a retry keeps, from which node and iteration, and which it refuses."""

from typing import Any

import pytest

from b3os.errors import BadInput
from b3os.run.again import check_start, check_version, kept
from b3os.run.frontier import Head
from tests.unit.run.build import compiled, node

NODES: dict[str, Any] = {
    "root": node("manual", "a", "side"),
    "a": node("act", "outer"),
    "outer": node("for-each", "after", loopBody=["b"]),
    "b": node("act", "inner"),
    "inner": node("for-each", "c", loopBody=["x"]),
    "x": node("act", "y"),
    "y": node("act"),
    "c": node("act"),
    "after": node("act"),
    "side": node("act", "tail", onError="continue", maxRetries=1),
    "tail": node("act"),
}
GRAPH = compiled(NODES)


def head(name: str, status: str = "success", **more: Any) -> Head:
    """A record: `node` or `path/node`."""
    path, _, node_id = name.rpartition("/")
    return Head(node_id=node_id, path=path, type=NODES[node_id]["type"], status=status, **more)


def ran() -> list[Head]:
    found = [head("a"), head("side"), head("tail"), head("outer", "running"), head("outer"), head("after")]
    for o in (0, 1):
        found += [head(f"outer:{o}/b"), head(f"outer:{o}/c")]
        found += [head(f"outer:{o}/inner", "running"), head(f"outer:{o}/inner")]
        found += [head(f"outer:{o}/inner:{i}/{name}") for i in (0, 1) for name in "xy"]
    return found


def names(heads: list[Head]) -> set[str]:
    return {f"{h.path}/{h.node_id}".lstrip("/") + ("*" if h.status == "running" else "") for h in heads}


def after(node_id: str, path: str = "") -> set[str]:
    """What a retry from a node does not keep."""
    start = (node_id, check_start(GRAPH, node_id, path))
    return names(ran()) - names(kept(GRAPH, GRAPH, ran(), start))


def test_everything_that_finished_is_kept_but_the_failure_that_ended_the_run() -> None:
    heads = [*ran(), head("a", "failure"), head("side", "failure", error_code="X"), head("after", "skipped")]
    heads += [head("side", "failure", error_code="400351"), head("b", "waiting"), head("b", "scheduled")]
    heads += [head("side", "failure", error_code="X", is_retryable=True)]  # it had a retry left
    heads += [head("side", "failure", error_code="X", is_retryable=True, attempt=2)]
    assert kept(GRAPH, GRAPH, heads, None) == [
        *ran(), head("side", "failure", error_code="X"),
        head("side", "failure", error_code="X", is_retryable=True, attempt=2),
    ]  # fmt: skip


def test_from_a_node_it_and_what_follows_it_runs_again_and_what_is_beside_it_is_kept() -> None:
    assert after("side") == {"side", "tail"}
    assert after("after") == {"after"}
    assert after("a") == names(ran()) - {"side", "tail"}


def test_from_a_loop_all_its_iterations_run_again() -> None:
    assert after("outer") == names(ran()) - {"a", "side", "tail"}


def test_inside_loops_the_iterations_before_and_the_items_are_kept() -> None:
    tail = {"outer", "after", "outer:1/inner", "outer:1/c", "outer:1/inner:1/x", "outer:1/inner:1/y"}
    assert after("x", "outer:1/inner:1") == tail
    assert after("y", "outer:1/inner:1") == tail - {"outer:1/inner:1/x"}
    first = after("c", "outer:0")
    second = {name for name in names(ran()) if name.startswith("outer:1")}
    assert first == {"outer", "after", "outer:0/c"} | second


def test_without_a_path_it_is_the_first_iteration() -> None:
    assert check_start(GRAPH, "x", "") == "outer:0/inner:0"
    assert after("x") == after("x", "outer:0/inner:0")


@pytest.mark.parametrize("path", ["outer:0", "inner:0/outer:0", "outer:0/inner:-1", "outer:0/inner:x", "outer:0/inner"])
def test_path_that_is_not_of_the_node_is_refused(path: str) -> None:
    with pytest.raises(BadInput, match="outer:<iteration>/inner:<iteration>") as refused:
        check_start(GRAPH, "x", path)
    assert refused.value.code == 400356


def test_node_that_the_version_lacks_is_refused() -> None:
    with pytest.raises(BadInput) as refused:
        check_start(GRAPH, "gone", "")
    assert refused.value.code == 400354


def test_version_that_lacks_a_kept_result_is_refused_and_one_that_only_adds_is_not() -> None:
    more = compiled({**NODES, "tail": node("act", "new"), "new": node("log")})
    check_version(more, kept(GRAPH, more, ran(), None))
    other = compiled({**NODES, "tail": node("log")})
    with pytest.raises(BadInput, match="lacks tail") as refused:
        check_version(other, kept(GRAPH, other, ran(), None))
    assert refused.value.code == 400355
    check_version(other, kept(GRAPH, other, ran(), ("side", "")))


def test_order_is_that_of_the_version_that_will_run() -> None:
    moved = compiled({**NODES, "root": node("manual", "a"), "a": node("act", "outer", "side")})
    assert "side" not in names(kept(GRAPH, moved, ran(), ("a", "")))
