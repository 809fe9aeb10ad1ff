"""Templates: every form, every refusal, and the compiled core against its model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups import expression
from b3os._speedups.expression import MAX_SOURCE, Template, compile_template, render_local
from b3os.errors import ExpressionError
from tests.reference.expression import render

SCOPE: dict[str, Any] = {
    "root": {"result": {"body": {"x": [1, {"y": "z"}]}, "big": 10**30, "no": None}, "payload": {"chainId": 1}},
    "n-1": {"result": {"matches": {"1": "group"}, "f": False}},
    "$item": {"a": 1},
    "$for": {"loop-1": {"item": "i", "index": 2}},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{root.result.body.x}}", [1, {"y": "z"}]),
        ("{{ root.result.body.x.1.y }}", "z"),
        ("{{root.result.body.x[1]['y']}}", "z"),
        ("{{n-1.result.matches.1}}", "group"),
        ("{{root.payload.chainId}}", 1),
        ("{{root.result.big}}", 10**30),
        ("{{$item.a}} of {{$for.loop-1.index}}", "1 of 2"),
        ("{{root.result.missing}}", None),
        ("<{{root.result.missing}}>", "<>"),
        ("{{root.result.no || 'it\\'s'}}", "it's"),
        ("{{root.result.no || n-1.result.f}}", False),
        ("{{x.y || -2.5}}", -2.5),
        ("{{x.y || null || true}}", True),
        ("{{x || 'a}}b'}}", "a}}b"),
        ("{{@field}} stays", "{{@field}} stays"),
        ("object {{root.result.body.x}}", 'object [1,{"y":"z"}]'),
        ("no braces", "no braces"),
    ],
)
def test_form_renders(template: str, expected: Any) -> None:
    assert compile_template(template).render(SCOPE) == expected


@pytest.mark.parametrize("template", ["{{", "{{}}", "{{a..b}}", "{{a b}}", "{{'x}}", "{{a[}}", "{{a |}}", "{{a(1)}}"])
def test_malformed_template_names_field_and_column(template: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template({"outer": {"inner": template}})
    assert caught.value.field == "outer.inner"
    assert "column" in caught.value.message


def test_rendered_data_is_not_evaluated_again() -> None:
    assert compile_template("{{a}}").render({"a": "{{b}}", "b": "secret"}) == "{{b}}"
    assert compile_template("x{{a}}").render({"a": "{{b}}", "b": "secret"}) == "x{{b}}"


def test_attributes_are_out_of_reach() -> None:
    assert compile_template("{{a.__class__.__name__}}").render({"a": "text"}) is None


def test_key_that_is_an_expression_keeps_its_type() -> None:
    rendered = compile_template({"{{root.result.body.x}}": {"$exists": True}}).render(SCOPE)
    assert rendered == {"$left": [1, {"y": "z"}], "$test": {"$exists": True}}


def test_limits_are_errors() -> None:
    deep: Any = "{{a}}"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ExpressionError, match="nested"):
        compile_template(deep)
    with pytest.raises(ExpressionError, match="longer"):
        compile_template("x" * (MAX_SOURCE + 1))
    with pytest.raises(ExpressionError, match="larger"):
        compile_template("{{a}}{{a}}").render({"a": "x" * 600_000})


def test_references_are_listed_for_validation() -> None:
    assert compile_template(["{{a.b || c-1.d}}", "{{$item}}"]).references == (("a", "b"), ("c-1", "d"), ("$item",))


def test_local_template_renders_one_item() -> None:
    assert render_local("{{@a.b}}: {{@c}} {{d}}", {"a": {"b": 1}, "c": None}) == "1:  {{d}}"


NAMES = st.sampled_from(["a", "b", "c-d", "0", "1"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


LITERALS = st.sampled_from(["'x'", "'a}}b'", '"q"', "'{{a}}'", "0", "-2.5", "true", "false", "null"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: ".".join(["a", *names]))
BRACKETS = st.tuples(PATHS, st.sampled_from(["[0]", "[ 1 ]", "['c-d']", "[999999999999]"])).map("".join)
NODES = PATHS.map(lambda path: f"$nodes.{path}")
EXPRESSIONS = st.lists(PATHS | BRACKETS | NODES | LITERALS, min_size=1, max_size=3).map(
    lambda parts: "{{ " + " || ".join(parts) + " }}"
)
TEXTS = st.lists(EXPRESSIONS | st.sampled_from(["plain", "{{@x}}", "é", ""]), max_size=3).map("".join)
PAYLOADS = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(PAYLOADS, st.lists(st.dictionaries(st.sampled_from(["a", "b"]), TREES), max_size=3).map(tuple))
def test_core_agrees_with_its_model(payload: Any, scopes: tuple[dict[str, Any], ...]) -> None:
    assert compile_template(payload).render(scopes) == render(payload, scopes)


@given(st.lists(PAYLOADS, min_size=1, max_size=6), TREES)
def test_core_agrees_with_its_model_while_a_run_grows(payloads: list[Any], trigger: Any) -> None:
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    base = {"a": {"a": trigger, "b": [trigger]}}
    for number, payload in enumerate(payloads):
        key = "ab"[number % 2]
        ours[key] = {"a": compile_template(payload).render((ours, base))}
        theirs[key] = {"a": render(payload, (theirs, base))}
        assert ours == theirs


def compiled(source: str) -> tuple[Template | None, int]:
    """Return the template, or the column of the refusal."""
    try:
        return compile_template(source), 0
    except ExpressionError as error:
        return None, error.column


@given(st.text(alphabet="{}ab.|'\"[]0 \\$@-²", max_size=40))
def test_any_text_compiles_or_is_refused_at_a_column(source: str) -> None:
    template, column = compiled(source)
    assert 0 <= column <= len(source)
    if template is not None:
        template.render({"a": {"b": [1]}})


@pytest.mark.parametrize("unit", ["{{a}}", "{{a", "{", "}}", "{{'", "{{a||", "{{a[0]}}x"])
def test_hostile_text_of_full_length_is_read_in_one_pass(unit: str) -> None:
    source = (unit * MAX_SOURCE)[:MAX_SOURCE]
    assert 0 <= compiled(source)[1] <= len(source)


def test_first_scope_that_has_the_name_wins() -> None:
    scopes = ({"a": None}, {"a": 1, "b": 2})
    assert compile_template(["{{a}}", "{{b}}", "{{$nodes.b}}"]).render(scopes) == [None, 2, 2]


def test_index_past_the_end_or_below_zero_leads_nowhere() -> None:
    payload = ["{{a.9}}", "{{a[99999999999999999999]}}", "{{a.-1}}", "{{a.²}}"]
    assert compile_template(payload).render({"a": [1]}) == [None] * 4
    with pytest.raises(ExpressionError, match="from 0"):
        compile_template("{{a[-1]}}")


def test_key_outside_a_condition_is_text() -> None:
    assert compile_template({"body": {"{{a}}": 1}}).render({"a": 5}) == {"body": {"5": 1}}
    assert compile_template({"condition": {"{{a}}": 1}}).render({"a": 5})["condition"] == {"$left": 5, "$test": 1}


def test_shared_references_cannot_multiply() -> None:
    value: Any = "x" * 100
    for _ in range(12):
        value = [value] * 10
    with pytest.raises(ExpressionError, match="values of a payload") as caught:
        compile_template({"f": "{{a}}"}).render({"a": value})
    assert (caught.value.field, caught.value.code) == ("f", 400303)
    with pytest.raises(ExpressionError, match="texts of a payload"):
        compile_template("x {{a}}").render({"a": value})


def test_texts_are_counted_over_the_whole_payload() -> None:
    with pytest.raises(ExpressionError, match="texts of a payload"):
        compile_template(["<{{a}}>", "<{{a}}>"]).render({"a": "x" * 600_000})


def test_data_in_a_text_rendered_per_item_stays_data() -> None:
    hostile = "{{@secret}} it's {\\"
    rendered = compile_template({"template": "{{a}}{@x}} {{@n}}"}, per_item="template").render({"a": hostile})
    assert render_local(rendered["template"], {"secret": "s", "n": 1, "x": 2}) == hostile + "{@x}} 1"


def test_local_forms() -> None:
    assert render_local("{{@a.b[0]}} {{@}} {{@['a'].b || 'x'}} {{@z || 'y'}}", {"a": {"b": [7]}}) == (
        '7 {"a":{"b":[7]}} [7] y'
    )
    assert render_local("{{@}}", "item") == "item"


def test_the_compiled_module_is_loaded() -> None:
    assert expression.__file__.endswith(".so")
