"""The built-ins that only compute: results, both generations' fields, bad input, and bounds."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os.errors import B3osError, BadInput
from b3os.run.builtins import texts
from b3os.run.builtins.catalog import BUILTINS
from b3os.run.builtins.pure import PURE
from b3os.run.sizes import ERROR_LIMIT, RESULT_LIMIT, bounded, cut_text

ROWS = [{"n": "9", "t": {"x": 1}}, {"n": 10, "t": {"x": 2}}, {"n": "10.0"}]

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("pluck", {"array": ROWS, "field": "t.x"}, {"values": [1, 2, None]}),
    (
        "pluck",
        {"array": ROWS, "fields": ["n", "t.x"]},
        {"values": [{"n": "9", "t.x": 1}, {"n": 10, "t.x": 2}, {"n": "10.0", "t.x": None}]},
    ),
    ("pluck", {"array": [], "fields": "n"}, {"values": []}),
    ("list-max", {"list": ROWS, "field": "n"}, {"item": ROWS[1], "value": 10, "index": 1}),
    ("list-min", {"array": ["3", 2, 2.0]}, {"item": 2, "value": 2, "index": 1}),
    ("list-min", {"values": []}, {"item": None, "value": None, "index": None}),
    ("format", {"data": [{"a": 1}, {"a": None}], "template": "<{{@a}}>"}, {"formatted": "<1>\n<>"}),
    ("format", {"data": [1, 2], "template": "x", "separator": ""}, {"formatted": "xx"}),
    ("format", {"data": {"a": {"b": [7]}}, "template": "{{@a.b.0}}{{n.result.x}}"}, {"formatted": "7{{n.result.x}}"}),
    ("format", {"data": {"a": "{{@b}}", "b": "no"}, "template": "{{@a}}"}, {"formatted": "{{@b}}"}),
    (
        "regex",
        {"text": "id=42", "pattern": r"id=(?P<id>\d+)"},
        {"matched": True, "matches": {"0": "id=42", "1": "42", "id": "42"}},
    ),
    (
        "regex",
        {"input": "a1b22", "pattern": r"\d+", "global": True},
        {"matched": True, "matches": [{"0": "1"}, {"0": "22"}]},
    ),
    ("regex", {"text": "", "pattern": "x", "global": True}, {"matched": False, "matches": []}),
    ("regex", {"text": "b", "pattern": "(a)?b"}, {"matched": True, "matches": {"0": "b", "1": None}}),
    ("convert-to-wei", {"value": "1.5"}, {"wei": "1500000000000000000"}),
    ("convert-to-wei", {"value": "0.000001", "decimals": "6"}, {"wei": "1"}),
    ("convert-to-wei", {"value": 2, "decimals": 0}, {"wei": "2"}),
    ("convert-to-wei", {"value": "-.50", "decimals": 1}, {"wei": "-5"}),
    (
        "convert-to-wei",
        {"value": "115792089237316195423570985008687907853269984665640564039457.584007913129639935"},
        {"wei": "115792089237316195423570985008687907853269984665640564039457584007913129639935"},
    ),
    ("convert-from-wei", {"wei": "1500000000000000000"}, {"value": "1.5"}),
    ("convert-from-wei", {"wei": 10**24, "decimals": 6}, {"value": "1000000000000000000"}),
    ("convert-from-wei", {"wei": "-1", "decimals": 2}, {"value": "-0.01"}),
    ("convert-from-wei", {"wei": "-0"}, {"value": "0"}),
    (
        "parse-google-sheets-url",
        {"url": "https://docs.google.com/spreadsheets/d/1AbC-dEf_0123456/edit?gid=7#gid=12&range=A1:B2"},
        {
            "spreadsheetId": "1AbC-dEf_0123456",
            "sheetId": 12,
            "range": "A1:B2",
            "isPublished": False,
            "url": "https://docs.google.com/spreadsheets/d/1AbC-dEf_0123456",
        },
    ),
    (
        "parse-google-sheets-url",
        {"sheetUrl": "https://docs.google.com/spreadsheets/u/0/d/e/2PACX-1vabcdefghij/pubhtml"},
        {
            "spreadsheetId": "2PACX-1vabcdefghij",
            "sheetId": None,
            "range": None,
            "isPublished": True,
            "url": "https://docs.google.com/spreadsheets/d/e/2PACX-1vabcdefghij",
        },
    ),
]


@pytest.mark.parametrize(("kind", "payload", "result"), CASES)
def test_result(kind: str, payload: dict[str, Any], result: dict[str, Any]) -> None:
    assert PURE[kind](payload) == result


BAD: list[tuple[str, dict[str, Any], int]] = [
    ("filter", {"array": "[]", "filter": {}}, 400311),
    ("pluck", {"array": [1], "fields": [1]}, 400311),
    ("pluck", {"field": "a"}, 400311),
    ("list-max", {"list": [1, "NaN"]}, 400313),
    ("list-max", {"list": [True]}, 400313),
    ("format", {"data": [1], "template": 5}, 400360),
    ("format", {"data": ["x"] * 100_000, "template": "y" * 60_000}, 400361),
    ("regex", {"text": "x", "pattern": "a" * 1025}, 400312),
    ("regex", {"text": "x", "pattern": "(?<=a)b"}, 400312),
    ("regex", {"text": "x", "pattern": r"(a)\1"}, 400312),
    ("regex", {"text": "x", "pattern": "\ud800"}, 400312),
    ("regex", {"text": None, "pattern": "a"}, 400312),
    ("regex", {"text": "a" * (texts.TEXT_LIMIT + 1), "pattern": "a"}, 400361),
    ("convert-to-wei", {"value": "1.0000001", "decimals": 6}, 400313),
    ("convert-to-wei", {"value": "1e18"}, 400313),
    ("convert-to-wei", {"value": "9" * 5000}, 400313),
    ("convert-to-wei", {"value": "1", "decimals": 78}, 400313),
    ("convert-to-wei", {"value": "１"}, 400313),
    ("convert-from-wei", {"wei": "1.5"}, 400313),
    ("convert-from-wei", {"wei": 10**5000}, 400313),
    ("convert-from-wei", {"wei": 1e18}, 400313),
    (
        "parse-google-sheets-url",
        {"url": "https://docs.google.com.evil.example/spreadsheets/d/1AbC-dEf_0123456"},
        400362,
    ),
    ("parse-google-sheets-url", {"url": "https://[::1/spreadsheets/d/1AbC-dEf_0123456"}, 400362),
    ("parse-google-sheets-url", {}, 400362),
]


@pytest.mark.parametrize(("kind", "payload", "code"), BAD)
def test_bad_input_is_named(kind: str, payload: dict[str, Any], code: int) -> None:
    with pytest.raises(BadInput) as caught:
        PURE[kind](payload)
    assert caught.value.code == code
    assert len(caught.value.message) < 1000


def test_a_global_pattern_keeps_a_bounded_number_of_matches() -> None:
    found = PURE["regex"]({"text": "a" * texts.TEXT_LIMIT, "pattern": "a", "global": True})
    assert (len(found["matches"]), found["truncated"]) == (texts.MATCH_LIMIT, True)


def test_a_catastrophic_pattern_is_harmless() -> None:
    assert PURE["regex"]({"text": "a" * 50_000, "pattern": "(a+)+$"})["matched"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("kind", sorted(PURE))
@given(data=st.data())
def test_any_payload_gives_a_result_or_an_error_of_ours(kind: str, data: st.DataObject) -> None:
    fields = sorted(BUILTINS[kind].payload_schema["properties"])
    payload = data.draw(st.dictionaries(st.sampled_from(fields), json_values))
    with contextlib.suppress(B3osError):  # anything else would end the worker's task, and the run would never end
        bounded(PURE[kind](payload))


def test_a_large_result_is_cut_with_a_mark() -> None:
    huge = {"rows": ["x" * 100] * 500_000}
    cut = bounded(huge)
    assert cut["truncated"]
    assert cut["bytes"] > 50_000_000
    assert cut["preview"].startswith('{"rows":["xxx')
    small = {"rows": "é" * (RESULT_LIMIT // 2 - 20)}
    assert bounded(small) is small


@pytest.mark.parametrize("value", ["\ud800", object(), {(1, 2): 3}], ids=repr)
def test_what_cannot_be_encoded_is_named(value: Any) -> None:
    with pytest.raises(BadInput, match="cannot be encoded") as caught:
        bounded({"x": value})
    assert caught.value.code == 400363


@pytest.mark.parametrize("text", ["x" * 10_000_000, "é" * 5000, "\U0001f600" * 3000])
def test_an_error_text_is_cut(text: str) -> None:
    cut = cut_text(text)
    assert ERROR_LIMIT - 8 <= len(cut.encode()) <= ERROR_LIMIT
    assert cut.endswith("…")
    assert cut_text(text[:500]) == text[:500]
