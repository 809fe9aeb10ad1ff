"""Every operator of `if` and `filter`, in both generations, over every kind of value."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups.expression import compile_template
from b3os.errors import BadInput
from b3os.run.builtins.pure import PURE
from b3os.workflow.conditions import MAX_DEPTH, OPERATORS, compile_condition

UNITS = "115792089237316195423570985008687907853269984665640564039457584007913129639935"

CASES: list[tuple[Any, str, Any, bool]] = [
    (1, "$eq", "1.0", True), ("10", "$eq", 10, True), ("1e3", "$eq", 1000, True), (True, "$eq", 1, False),
    ("true", "$eq", True, False), ("a", "$eq", "a", True), (None, "$eq", None, True), (None, "$eq", "", False),
    ([1], "$eq", [1], True), ({"a": 1}, "$eq", {"a": 1}, True), (UNITS, "$eq", int(UNITS), True),
    (0.1, "$eq", "0.1", True), ("1_000", "$eq", 1000, False), ("Infinity", "$eq", "inf", False),
    (1, "$ne", "2", True), ("1", "$ne", 1, False), (None, "$ne", 1, True),
    ("9", "$gt", "10", False), ("b", "$gt", "a", True), (UNITS, "$gt", str(int(UNITS) - 1), True),
    (None, "$gt", 0, False), ([], "$gt", 0, False), (2, "$gt", 1.5, True), (1, "$gt", 1, False),
    (1, "$gte", "1", True), ("0.5", "$gte", 1, False), ("-1", "$lt", "0", True), (1, "$lt", 1, False),
    ("1", "$lte", 1, True), ("2026-01-02", "$lte", "2026-01-01", False), (None, "$lte", 5, False),
    ("2", "$in", [1, 2], True), ("x", "$in", "xyz", False), ({"a": 1}, "$in", [{"a": 1}], True),
    (3, "$nin", [1, 2], True), ("1", "$nin", [1], False), (3, "$notIn", [1, 2], True), (1, "$notIn", ["1"], False),
    ("hello", "$contains", "ell", True), ([1, "2"], "$contains", 2, True), ({"k": 1}, "$contains", "k", True),
    ("a1", "$contains", 1, True), (5, "$contains", 5, False), ([{"a": 1}], "$contains", {"a": 1}, True),
    ("hello", "$notContains", "x", True), ([1], "$notContains", "1", False), (None, "$notContains", "x", True),
    ("0xab", "$startsWith", "0x", True), (12, "$startsWith", "1", False), ("ab", "$endsWith", "b", True),
    ("ab", "$endsWith", "a", False), (0, "$exists", True, True), (None, "$exists", True, False),
    (None, "$exists", False, True), ("", "$notExists", True, False), (None, "$notExists", True, True),
    (1, "$notExists", False, True),
]  # fmt: skip


@pytest.mark.parametrize(("left", "operator", "right", "holds"), CASES)
def test_operator(left: Any, operator: str, right: Any, holds: bool) -> None:
    assert compile_condition({operator: [left, right]})(None) is holds
    newer = compile_template({"$and": [{"{{n.result.x}}": {operator: "{{n.result.y}}"}}]})
    rendered = newer.render({"n": {"result": {"x": left, "y": right}}})
    assert compile_condition(rendered)(None) is holds
    item = {"price": left}
    assert compile_condition({"$and": [{"price": {operator: right}}]}, of_item=True)(item) is holds
    assert compile_condition({operator: ["{{@price}}", right]}, of_item=True)(item) is holds


def test_every_operator_has_a_case_that_holds_and_one_that_does_not() -> None:
    assert {(operator, holds) for _, operator, _, holds in CASES} == {(o, h) for o in OPERATORS for h in (True, False)}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"$or": [{"$eq": [1, 2]}, {"$and": [{"$eq": [1, 1]}, {"$not": {"$eq": [1, 2]}}]}]}, True),
        ({"$and": []}, True),
        ({"$or": []}, False),
        ([{"$eq": [1, 1]}, {"$eq": [1, 2]}], False),
        ({"$gt": [2, 1], "$lt": [1, 2]}, True),
        ({"$exists": [None]}, False),
        ({"$left": 5, "$test": {"$gt": 1, "$lt": 4}}, False),
        ({"$left": 5, "$test": "5"}, True),
    ],
)
def test_logic(condition: Any, holds: bool) -> None:
    assert compile_condition(condition)(None) is holds


def nested(levels: int) -> Any:
    condition: Any = {"$eq": [1, 1]}
    for _ in range(levels):
        condition = {"$not": condition}
    return condition


@pytest.mark.parametrize(
    "condition",
    [None, "x", 5, {"a": {"$like": 1}}, {"$and": {}}, {"$gt": [1]}, {"$gt": 1}, {"$eq": [1, 2, 3]},
     nested(MAX_DEPTH + 1), nested(900)],
    ids=[str(number) for number in range(10)],
)  # fmt: skip
def test_a_malformed_condition_is_named(condition: Any) -> None:
    with pytest.raises(BadInput) as caught:
        compile_condition(condition)
    assert caught.value.code == 400310


def test_fields_of_an_item_are_dotted_and_a_missing_one_is_null() -> None:
    rows = [{"a": {"b": [5]}}, {"a": None}, None, 7]
    kept = PURE["filter"]({"array": rows, "filter": {"a.b.0": {"$gte": 5}}})
    assert kept == {"filtered": [rows[0]]}
    assert PURE["filter"]({"array": rows, "condition": {"a.b": {"$exists": False}}})["filtered"] == rows[1:]
    both = {"$gt": ["{{@high}}", "{{@low}}"]}
    assert PURE["filter"]({"array": [{"high": 2, "low": 1}, {"high": 1, "low": 2}], "filter": both})["filtered"] == [
        {"high": 2, "low": 1}
    ]
    newer = {"high": {"$gt": "{{@low}}"}}
    assert (
        len(PURE["filter"]({"array": [{"high": 2, "low": 1}, {"high": 1, "low": 2}], "filter": newer})["filtered"]) == 1
    )


def test_a_hundred_thousand_items_among_a_hundred_thousand_take_linear_time() -> None:
    many: list[Any] = [{"id": str(n)} for n in range(100_000)]
    began = time.process_time()
    kept = PURE["filter"]({"array": many, "filter": {"$and": [{"id": {"$in": list(range(0, 200_000, 2))}}]}})
    assert len(kept["filtered"]) == 50_000
    assert time.process_time() - began < 20, "quadratic would be hours"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["{{@a}}", "1e5"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*OPERATORS, "$and", "$or", "a"]), inner)
    ),
    max_leaves=8,
)


@given(condition=json_values, item=json_values)
def test_whatever_is_written_it_holds_or_not_or_is_bad_input(condition: Any, item: Any) -> None:
    for of_item in (True, False):
        with contextlib.suppress(BadInput):
            assert compile_condition(condition, of_item=of_item)(item) in (True, False)
