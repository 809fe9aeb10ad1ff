"""Templates: every form, every refusal, and the compiled core against its model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os._speedups import expression
from b3os._speedups.expression import MAX_SOURCE, compile_template, render_local
from b3os.errors import ExpressionError
from tests.reference.expression import first_present

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


@given(st.dictionaries(NAMES, TREES), st.lists(st.lists(NAMES, min_size=2, max_size=4), min_size=1, max_size=3))
def test_core_agrees_with_its_model(scope: dict[str, Any], paths: list[list[str]]) -> None:
    paths = [["a", *path] for path in paths]
    template = "{{" + " || ".join(".".join(path) for path in paths) + "}}"
    assert compile_template(template).render(scope) == first_present(paths, scope)


@given(st.text(alphabet="{}ab.|'\"[]0 \\$@-", max_size=40))
def test_any_text_compiles_or_is_refused(source: str) -> None:
    try:
        template = compile_template(source)
    except ExpressionError:
        return
    template.render({"a": {"b": [1]}})


def test_the_compiled_module_is_loaded() -> None:
    assert expression.__file__.endswith(".so")
