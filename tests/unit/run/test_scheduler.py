"""Runs without I/O: order, branches, joins, loops, failure, waits, and restoring at every cut."""

from typing import Any

import pytest

from b3os.run.commands import CallAction, Command, FinishRun, StartTimer, WriteState
from b3os.run.events import NodeDone, Recorded, Resume, Start
from b3os.run.records import NodeError, NodeRecord, execution_state
from b3os.run.scheduler import RunScheduler
from b3os.workflow.definition import Definition, normalise
from tests.unit.run.build import node, records, scheduler, told

DIAMOND = {
    "root": node("manual", "if"),
    "if": node("if", "yes", "no", payload={"condition": {"$and": [{"{{root.result.n}}": {"$gt": 3}}]}}),
    "yes": node("log", "end", branch="then", payload={"message": "y"}),
    "no": node("log", "end", branch="else", payload={"message": "n"}),
    "end": node("log", payload={"message": "{{yes.result.message || no.result.message}}"}),
}


@pytest.mark.parametrize(("n", "message"), [(10, "y"), ("4", "y"), (3, "n"), (None, "n")])
def test_join_runs_once_after_the_taken_arm(n: Any, message: str) -> None:
    out = scheduler(DIAMOND, n=n).apply(Start(1))
    assert [r.result["message"] for r in records(out) if r.node_id == "end"] == [message]
    assert len([r for r in records(out) if r.status == "skipped"]) == 1
    assert out[-1] == FinishRun("success", 1)


NESTED = {
    "root": node("manual", "outer"),
    "outer": node("for-each", "after", payload={"array": "{{root.result.rows}}"}, loopBody=["inner"]),
    "inner": node("for-each", payload={"array": "{{$item}}"}, loopBody=["say"]),
    "say": node("log", payload={"message": "{{$parent_index}}.{{$index}}={{$item}} {{$for.outer.index}}"}),
    "after": node("log", payload={"message": "{{outer.result.iterationCount}}"}),
}


def test_nested_loops_run_in_order_and_then_their_children() -> None:
    out = scheduler(NESTED, rows=[["a", "b"], [], ["c"]]).apply(Start(1))
    assert [r.result["message"] for r in records(out) if r.node_id == "say"] == ["0.0=a 0", "0.1=b 0", "2.0=c 2"]
    assert told(out)[-2:] == [("outer", "", "success"), ("after", "", "success")]


def test_loop_over_its_budget_fails_the_run() -> None:
    out = scheduler(NESTED, rows=[[]] * 101).apply(Start(1))
    assert records(out)[-1].result["error"]["code"] == "400301"
    assert out[-1] == FinishRun("failure", 1)


ACTION = {
    "root": node("manual", "act"),
    "act": node("http-request", "end", payload={"url": "{{$trigger.url}}"}),
    "end": node("log", payload={"message": "{{act.result.ok || $nodes.act.error.message}}"}),
}


def test_action_is_called_with_its_rendered_input_and_a_stable_key() -> None:
    (call,) = scheduler(ACTION, url="u").apply(Start(1))
    assert call == CallAction("act", "", "http-request", {"url": "u"}, None, "run_1::act")


def test_failed_action_ends_the_run_and_keeps_its_error() -> None:
    run = scheduler(ACTION)
    run.apply(Start(1))
    out = run.apply(NodeDone("act", "", 2, error=NodeError("API_ERROR", "down", "network", "retry", True)))
    assert records(out)[0].result["error"]["remediation"] == "retry"
    assert out[-1] == FinishRun("failure", 2)
    assert run.apply(NodeDone("act", "", 3, result={})) == []


def test_failure_may_be_carried_on_from() -> None:
    run = scheduler({**ACTION, "act": {**ACTION["act"], "onError": "continue"}})
    run.apply(Start(1))
    out = run.apply(NodeDone("act", "", 2, error=NodeError("X", "down")))
    assert records(out)[-1].result["message"] == "down"
    assert out[-1] == FinishRun("success", 2)


WAITS = {
    "root": node("manual", "w"),
    "w": node("wait", "yes", "late", payload={"timeoutMs": 5000}),
    "yes": node("log", branch="resumed", payload={"message": "{{w.result.data.ok}}"}),
    "late": node("log", branch="timed_out", payload={"message": "late"}),
}


def test_wait_starts_a_timer_and_goes_on_where_the_answer_says() -> None:
    first = scheduler(WAITS).apply(Start(1))
    (timer,) = first
    assert isinstance(timer, StartTimer)
    assert (timer.kind, timer.wake_in_ms, timer.record.status) == ("wait", 5000, "waiting")
    again = scheduler(WAITS)
    again.apply(Recorded(timer.record))
    result = {"status": "resumed", "branch": "resumed", "data": {"ok": 1}}
    again.apply(Recorded(NodeRecord(2, "w", "", "wait", "success", None, result, "resumed", 1, 9)))
    out = again.apply(Resume(10))
    assert told(out) == [("late", "", "skipped"), ("yes", "", "success")]
    assert out[-1] == FinishRun("success", 10)


def test_storage_is_written_with_its_record_and_seen_at_once() -> None:
    out = scheduler(
        {
            "root": node("manual", "s"),
            "s": node("storage", "l", payload={"key": "k", "value": "{{root.result.v}}"}),
            "l": node("log", payload={"message": "{{$storage.k}}"}),
        },
        v=7,
    ).apply(Start(1))
    assert isinstance(out[0], WriteState)
    assert records(out)[-1].result["message"] == 7


def run_to_end(run: RunScheduler, out: list[Command]) -> list[Command]:
    todo = list(out)
    everything = []
    while todo:
        command = todo.pop(0)
        everything.append(command)
        if isinstance(command, CallAction):
            todo += run.apply(NodeDone(command.node_id, command.path, 2, result={"ok": command.path}))
    return everything


LOOP_OF_ACTIONS = {
    "root": node("manual", "loop", "if"),
    "loop": node("for-each", "end", payload={"array": [1, 2, 3]}, loopBody=["a"]),
    "a": node("http-request", "b", payload={"x": "{{$item}}"}),
    "b": node("log", payload={"message": "{{a.result.ok}}"}),
    "if": {**DIAMOND["if"], "children": ["yes", "no"]},
    "yes": DIAMOND["yes"],
    "no": DIAMOND["no"],
    "end": node("log", payload={"message": "end"}),
}


@pytest.mark.parametrize("cut", range(14))
def test_restored_at_any_cut_runs_the_rest_and_nothing_twice(cut: int) -> None:
    straight = scheduler(LOOP_OF_ACTIONS, n=1)
    whole = records(run_to_end(straight, straight.apply(Start(2))))
    assert straight.status == "success"
    kept = whole[:cut]
    again = scheduler(LOOP_OF_ACTIONS, n=1)
    for record in kept:
        again.apply(Recorded(record))
    rest = records(run_to_end(again, again.apply(Resume(2))))
    assert again.status == "success"
    key = [(r.node_id, r.path) for r in (*kept, *rest)]
    assert sorted(key) == sorted((r.node_id, r.path) for r in whole)
    assert len({r.seq for r in (*kept, *rest)}) == len(key)


def test_execution_state_nests_iterations() -> None:
    definition: Definition = normalise({"nodes": NESTED})
    state = execution_state(definition, records(scheduler(NESTED, rows=[["a"]]).apply(Start(1))))
    assert state["outer"]["iterations"][0]["inner"]["iterations"][0]["say"]["result"]["message"] == "0.0=a 0"
    assert state["after"]["status"] == "success"


def test_deep_chain_does_not_recurse() -> None:
    chain = {f"n{i}": node("log", f"n{i + 1}", payload={"message": i}) for i in range(3000)}
    out = scheduler({"root": node("manual", "n0"), **chain, "n3000": node("log", payload={"message": "z"})}).apply(
        Start(1)
    )
    assert len(records(out)) == 3001
