"""Nodes that keep something: what they write, what later nodes see, and replaying it."""

from typing import Any

import pytest

from b3os.run.builtins.state import RunState, StateWrite
from b3os.run.commands import Command, FinishRun, Record, StartTimer, WriteState
from b3os.run.events import NodeDone, Recorded, Resume, Start
from b3os.run.kept import kept_error
from b3os.run.records import NodeError, NodeRecord
from b3os.run.scheduler import RunScheduler
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise
from b3os.workflow.variables import is_of, variable_problems

DEFS = [
    {"name": "count", "type": "number", "lifetime": "persist", "default": 0},
    {"name": "seen", "type": "list", "lifetime": "reset", "default": []},
    {"name": "label", "type": "text"},
]


def run(nodes: dict[str, Any], records: list[NodeRecord] | None = None, **more: Any) -> list[Command]:
    chain = {"root": {"type": "manual", "children": [next(iter(nodes))]}}
    names = list(nodes)
    for name, follower in zip(names, [*names[1:], None], strict=True):
        chain[name] = {**nodes[name], "children": [follower] if follower else []}
    definition = Compiled(normalise({"nodes": chain, "variableDefs": DEFS}))
    scheduler = RunScheduler(
        definition, run_id="run_1", org_id="org_1", workflow_id="wf_1", trigger_node="root", trigger_result={}, **more
    )
    for record in records or ():
        scheduler.apply(Recorded(record))
    return scheduler.apply(Resume(5) if records else Start(5))


def told(out: list[Command]) -> list[NodeRecord]:
    return [c.record for c in out if isinstance(c, Record | StartTimer | WriteState)]


def say(text: str) -> dict[str, Any]:
    return {"type": "log", "payload": {"message": text}}


def put(name: str, value: Any) -> dict[str, Any]:
    return {"type": "set-variable", "payload": {"name": name, "value": value}}


def test_a_persistent_variable_is_written_with_its_record_and_one_that_resets_is_not() -> None:
    nodes = {"a": put("count", "{{$vars.count}}"), "b": put("label", "x"), "c": say("{{$vars.count}}{{$vars.label}}")}
    out = run(nodes, variables={"count": 41, "label": "from another run"})
    assert isinstance(out[0], WriteState)
    assert out[0].write == StateWrite("variables", "count", 41)
    assert out[0].record.result == {"name": "count", "value": 41, "previous": 41}
    assert isinstance(out[1], Record)
    assert out[1].record.result == {"name": "label", "value": "x", "previous": None}
    assert told(out)[-1].result["message"] == "41x"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("count", "1", "holds a number, not a string"), ("count", True, "a number, not a boolean"),
     ("seen", {}, "a list, not an object"), ("label", None, "a text, not null"), ("other", 1, "is not declared"),
     ("seen", ["x" * 1000] * 300, "at most 262144")],
)  # fmt: skip
def test_a_wrong_write_fails_its_node_with_a_name(name: str, value: Any, words: str) -> None:
    out = run({"a": put(name, value)})
    assert words in told(out)[0].result["error"]["message"]
    assert told(out)[0].result["error"]["code"] in ("400364", "400361")
    assert out[-1] == FinishRun("failure", 5)


def test_storage_reads_its_own_write_and_org_storage_names_its_store() -> None:
    out = run(
        {
            "a": {"type": "storage", "payload": {"key": "k", "value": [1]}},
            "b": {"type": "storage", "payload": {"key": "k"}},
            "c": {"type": "org-storage-set", "payload": {"key": "k", "value": "{{b.result.value}}", "store": "s"}},
            "d": {"type": "org-storage-set", "payload": {"key": "k", "value": 1}},
        },
        storage={"k": 0},
    )
    writes = [c.write for c in out if isinstance(c, WriteState)]
    assert writes == [StateWrite("storage", "k", [1]), StateWrite("org_storage", "k", [1], "s"),
                      StateWrite("org_storage", "k", 1, "default")]  # fmt: skip
    assert told(out)[0].result == {"key": "k", "value": [1], "previous": 0}
    assert told(out)[1].result == {"key": "k", "value": [1]}


@pytest.mark.parametrize("payload", [{}, {"key": ""}, {"key": 5, "value": 1}, {"key": "a\0"}, {"key": "k" * 513}])
@pytest.mark.parametrize("kind", ["storage", "org-storage-set"])
def test_a_malformed_key_is_named(kind: str, payload: dict[str, Any]) -> None:
    out = run({"a": {"type": kind, "payload": {"value": 1, **payload}}})
    assert told(out)[0].result["error"]["code"] == "400314"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_replayed_run_sees_what_it_wrote(cut: int) -> None:
    nodes = {
        "a": put("count", 7),
        "b": put("seen", ["x"]),
        "c": {"type": "storage", "payload": {"key": "k", "value": "v"}},
        "d": say("{{$vars.count}} {{$vars.seen}} {{$storage.k}}"),
    }
    kept = told(run(nodes))[:cut]
    rest = told(run(nodes, kept, variables={"count": 1}, storage={"k": "old"}))
    assert rest[-1].result["message"] == '7 ["x"] v'
    assert len(rest) == 4 - cut


def test_state_of_other_shapes_is_left_alone() -> None:
    state = RunState({"k": 1}, {}, [*DEFS, {"name": 5}])
    for result in (None, "x", {"error": {}}, {"key": "k"}):
        state.replay("storage", result)
    assert (state.storage, state.variables) == ({"k": 1}, {"count": 0, "seen": [], "label": None})


@pytest.mark.parametrize(
    ("defs", "words"),
    [([{"name": "a", "type": "int"}], "Invalid enum"), ([{"type": "text"}], "missing required"),
     ([{"name": "1a", "type": "text"}], "does not begin with a digit"),
     ([{"name": "a", "type": "text"}] * 2, "declared twice"),
     ([{"name": "a", "type": "number", "default": "1"}], "is no number"),
     ([{"name": "a", "type": "text", "lifetime": "for ever"}], "Invalid enum")],
)  # fmt: skip
def test_wrong_declarations_are_told(defs: list[dict[str, Any]], words: str) -> None:
    assert any(words in problem for problem in variable_problems(defs))
    assert list(variable_problems(DEFS)) == []


def test_true_is_no_number() -> None:
    assert not is_of("number", True)
    assert is_of("boolean", True)
    assert not is_of("boolean", 1)


def test_a_huge_result_and_input_are_cut_in_the_record_and_for_the_nodes_after_it() -> None:
    call = {"type": "http-request", "payload": {"url": "u"}}
    scheduler = RunScheduler(
        Compiled(normalise({"nodes": {"root": {"type": "manual", "children": ["a"]}, "a": {**call, "children": ["b"]},
                             "b": {**say("{{a.result.truncated}} {{a.result.bytes}}")}}})),
        run_id="run_1", org_id="org_1", workflow_id="wf_1", trigger_node="root", trigger_result={},
    )  # fmt: skip
    scheduler.apply(Start(1))
    out = scheduler.apply(NodeDone("a", "", 2, result={"rows": ["y" * 1000] * 50_000}))
    assert told(out)[0].result["truncated"] is True
    assert told(out)[1].result["message"].startswith("true 50")


def test_a_result_that_cannot_be_encoded_fails_its_node_only_with_a_name() -> None:
    scheduler = RunScheduler(
        Compiled(normalise({"nodes": {"root": {"type": "manual", "children": ["a"]},
                             "a": {"type": "http-request", "onError": "continue", "children": ["b"]},
                             "b": say("{{$nodes.a.error.code}}")}})),
        run_id="run_1", org_id="org_1", workflow_id="wf_1", trigger_node="root", trigger_result={},
    )  # fmt: skip
    scheduler.apply(Start(1))
    out = scheduler.apply(NodeDone("a", "", 2, result={"bad": "\ud800"}))
    assert told(out)[1].result["message"] == "400363"
    assert out[-1] == FinishRun("success", 2)


def test_an_error_of_ten_megabytes_is_cut() -> None:
    out = run({"a": {"type": "regex", "payload": {"text": "x", "pattern": "("}}})
    assert told(out)[0].result["error"]["code"] == "400312"
    kept = kept_error(NodeError("X", "m" * 10_000_000, remediation="r" * 10_000_000))
    assert all(len(kept["error"][name].encode()) <= 8192 for name in ("message", "remediation"))
