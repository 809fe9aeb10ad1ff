"""What validation refuses of a definition's edges and budgets, and that the compiled graph agrees."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os.errors import InvalidDefinition
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise
from b3os.workflow.validation import TypeInfo, validate

TYPES = {
    "manual": TypeInfo("trigger", {}),
    **{name: TypeInfo("logic", {}) for name in ("log", "if", "wait", "for-each")},
    "act": TypeInfo("action", {}),
}


def node(type_: str, *children: str, **more: Any) -> dict[str, Any]:
    return {"type": type_, "children": list(children), **more}


def codes(**nodes: Any) -> list[str]:
    return sorted(found.code for found in validate(normalise({"nodes": nodes}), TYPES))


def test_a_sound_definition_has_no_problem() -> None:
    assert codes(
        root=node("manual", "act", "loop"),
        act=node("act", "fine", "handler", onError="branch"),
        fine=node("log", payload={"message": "{{act.result}} {{$nodes.act.error}}"}),
        handler=node("log", branch="error"),
        loop=node("for-each", "after", loopBody=["if"]),
        **{"if": node("if", "yes")},
        yes=node("log", branch="then", payload={"message": "{{loop.payload}}"}),
        after=node("log"),
    ) == []  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "code"),
    [
        ({"root": node("manual", "a"), "a": node("log", "b"), "b": node("log", "a")}, "cycle"),
        ({"root": node("manual", "gone")}, "missing_node"),
        ({"root": node("manual"), "a": node("log")}, "unreachable"),
        ({"root": node("manual", "a"), "a": node("log", branch="error")}, "bad_branch"),
        ({"root": node("manual", "a"), "a": node("act", "b"), "b": node("log", branch="error")}, "bad_branch"),
        ({"root": node("manual", "a"), "a": node("if", "b"), "b": node("log")}, "branch_missing"),
        ({"root": node("manual", "a"), "a": node("log", onError="explode")}, "bad_on_error"),
        ({"root": node("manual", "a"), "a": node("act", "b", onError="branch"), "b": node("log")},
         "error_branch_missing"),
        ({"root": node("manual", "a"), "a": node("act", maxRetries=11)}, "bad_max_retries"),
        ({"root": node("manual", "a"), "a": node("act", maxRetries=-1)}, "bad_max_retries"),
        ({"root": node("manual", "a"), "a": node("act", timeoutMs=0)}, "bad_timeout"),
        ({"root": node("manual", "a"), "a": node("act", timeoutMs=600_001)}, "bad_timeout"),
        ({"root": node("manual", "a"), "a": node("for-each", payload={"array": [0] * 101})}, "too_many_items"),
        ({"root": node("manual", "a"), "a": node("for-each", "b", loopBody=["b"]), "b": node("log")},
         "loop_leads_out"),
        ({"root": node("manual", "a", "c"), "a": node("for-each", loopBody=["b"]), "b": node("log", "d"),
          "c": node("for-each", loopBody=["d"]), "d": node("log")}, "loop_leads_out"),
    ],
)  # fmt: skip
def test_problem_has_its_code_once(nodes: dict[str, Any], code: str) -> None:
    assert codes(**nodes) == [code]


@pytest.mark.parametrize("limit", [0, 999, 90 * 24 * 3600 * 1000 + 1])
def test_run_deadline_has_bounds(limit: int) -> None:
    definition = normalise({"nodes": {"root": node("manual")}, "timeoutMs": limit})
    assert [found.code for found in validate(definition, TYPES)] == ["bad_timeout"]


def loops(levels: int) -> dict[str, Any]:
    nested = {f"l{n}": node("for-each", loopBody=[f"l{n + 1}"]) for n in range(levels)}
    return {"root": node("manual", "l0"), **nested, f"l{levels}": node("log")}


def test_ten_levels_of_loops_are_allowed_and_eleven_are_not() -> None:
    assert codes(**loops(10)) == []
    assert codes(**loops(11)) == ["loop_too_deep"]


def chain(length: int) -> dict[str, Any]:
    nodes = {f"n{n}": node("log", f"n{n + 1}", payload={"message": "{{n0.result}}"}) for n in range(length - 2)}
    return {"root": node("manual", "n0"), **nodes, f"n{length - 2}": node("log")}


def test_ten_thousand_nodes_are_checked_and_one_more_is_refused() -> None:
    assert codes(**chain(10_000)) == ["reference_not_ancestor"]  # n0 refers to itself
    assert codes(**chain(10_001)) == ["too_many_nodes"]


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ({"root": node("manual", "a"), "a": node("log", "b"), "b": node("log", "a")}, "cycle"),
        ({"root": node("manual", "gone")}, "gone"),
    ],
)
def test_what_is_no_graph_is_not_compiled(nodes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDefinition, match=text):
        Compiled(normalise({"nodes": nodes}))


@given(st.data())
def test_what_validation_passes_can_be_compiled(data: st.DataObject) -> None:
    names = ["a", "b", "c", "d", "e"]
    some = st.lists(st.sampled_from(names), max_size=2)
    nodes = {name: node("for-each", *data.draw(some), loopBody=data.draw(some)) for name in names}
    nodes["root"] = node("manual", *data.draw(some))
    graph_problems = {"cycle", "loop_leads_out"} & set(codes(**nodes))
    try:
        Compiled(normalise({"nodes": nodes}))
    except InvalidDefinition:
        assert graph_problems
