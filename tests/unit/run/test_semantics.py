"""Branches of errors, time-outs, retries, deadlines, concurrency, loops and budgets, a rule at a time."""

from typing import Any

import pytest

from b3os.run.commands import CallAction, FinishRun, Record, StartDeadline, StartTimer
from b3os.run.deadlines import RUN_MS
from b3os.run.events import Answered, Cancel, NodeDone, Recorded, Resume, Start, Tick
from b3os.run.records import NodeError, NodeRecord, execution_state
from b3os.run.retries import backoff_ms
from b3os.run.scheduler import PARALLEL_CALLS, Edited
from b3os.run.transitions import NODE, RUN
from tests.unit.run.build import calls, compiled, node, records, scheduler, told
from tests.unit.run.world import World

NO = NodeError("X", "down")
AGAIN = NodeError("X", "down", retryable=True)


def handled(on_error: str, **more: Any) -> dict[str, Any]:
    return {
        "root": node("manual", "act"),
        "act": node("act", "fine", "handler", onError=on_error, **more),
        "fine": node("log", "end", payload={"message": "fine"}),
        "handler": node("log", "end", branch="error", payload={"message": "{{$nodes.act.error.message}}"}),
        "end": node("log", payload={"message": "{{handler.result.message || fine.result.message}}"}),
    }


@pytest.mark.parametrize(("error", "ran", "skipped"), [(NO, "handler", "fine"), (None, "fine", "handler")])
def test_error_branch_runs_when_the_node_failed_and_is_skipped_when_it_did_not(
    error: NodeError | None, ran: str, skipped: str
) -> None:
    run = scheduler(handled("branch"))
    run.apply(Start(1))
    out = run.apply(NodeDone("act", "", 2, {}, error))
    assert sorted(told(out)[1:]) == sorted([(skipped, "", "skipped"), (ran, "", "success"), ("end", "", "success")])
    assert records(out)[-1].result["message"] == ("down" if error else "fine")
    assert out[-1] == FinishRun("success", 2)


def test_failed_if_that_is_carried_on_from_takes_no_arm() -> None:
    out = scheduler(
        {
            "root": node("manual", "if"),
            "if": node(
                "if",
                "yes",
                "no",
                payload={"condition": {"$and": [{"{{$trigger.n}}": {"$bogus": 1}}]}},
                onError="continue",
            ),
            "yes": node("log", branch="then"),
            "no": node("log", branch="else"),
        }
    ).apply(Start(1))
    assert told(out) == [("if", "", "failure"), ("yes", "", "skipped"), ("no", "", "skipped")]


def waiting(*arms: str) -> dict[str, Any]:
    return {
        "root": node("manual", "w"),
        "w": node("wait", *arms, payload={"timeoutMs": 5000}),
        **{arm: node("log", branch=arm) for arm in arms},
    }


def test_wait_without_a_child_for_its_timeout_fails_then() -> None:
    (timer,) = scheduler(waiting("resumed")).apply(Start(1))
    assert isinstance(timer, StartTimer)
    assert timer.kind == "wait_fail"
    (timer,) = scheduler(waiting("resumed", "timed_out")).apply(Start(1))
    assert isinstance(timer, StartTimer)
    assert timer.kind == "wait"


RETRIED = {"root": node("manual", "act"), "act": node("act", maxRetries=2, payload={"x": 1})}


def test_retryable_error_is_tried_again_after_a_pause_until_the_retries_are_spent() -> None:
    run = scheduler(RETRIED)
    (call,) = run.apply(Start(0))
    assert isinstance(call, CallAction)
    now = 0
    for attempt in (1, 2):
        (timer,) = run.apply(NodeDone("act", "", now, error=AGAIN))
        assert isinstance(timer, StartTimer)
        assert (timer.kind, timer.record.status, timer.record.attempt) == ("retry", "scheduled", attempt + 1)
        assert 500 * attempt <= timer.wake_in_ms <= 1000 * attempt
        assert run.apply(Tick(now + timer.wake_in_ms - 1)) == []
        assert run.wake_ms == now + timer.wake_in_ms
        now += timer.wake_in_ms
        (again,) = run.apply(Tick(now))
        assert isinstance(again, CallAction)
        assert (again.attempt, again.idempotency_key) == (attempt + 1, call.idempotency_key)
    out = run.apply(NodeDone("act", "", now, error=AGAIN))
    assert [(r.status, r.attempt, r.started_ms) for r in records(out)] == [("failure", 3, 0)]
    assert out[-1] == FinishRun("failure", now)


def test_error_that_may_not_be_retried_is_not() -> None:
    run = scheduler(RETRIED)
    run.apply(Start(0))
    assert run.apply(NodeDone("act", "", 5, error=NO))[-1] == FinishRun("failure", 5)


def test_restored_run_goes_on_waiting_for_its_retry_and_burns_none_for_a_dead_owner() -> None:
    run = scheduler(RETRIED)
    run.apply(Start(0))
    (timer,) = run.apply(NodeDone("act", "", 0, error=AGAIN))
    assert isinstance(timer, StartTimer)
    early = scheduler(RETRIED)
    early.apply(Recorded(timer.record))
    (still,) = early.apply(Resume(100))
    assert isinstance(still, StartTimer)
    assert (still.kind, still.wake_in_ms, still.record) == ("retry", timer.wake_in_ms - 100, timer.record)
    for _ in range(3):  # each owner dies while it calls
        late = scheduler(RETRIED)
        late.apply(Recorded(timer.record))
        (call,) = late.apply(Resume(5000))
        assert isinstance(call, CallAction)
        assert call.attempt == 2


def test_back_off_doubles_to_its_cap_and_depends_on_run_node_path_and_attempt_only() -> None:
    pauses = [backoff_ms("run_1", "act", "", attempt) for attempt in range(1, 40)]
    assert all(500 * 2**n <= pause <= 1000 * 2**n for n, pause in enumerate(pauses[:9]))
    assert all(150_000 <= pause <= 300_000 for pause in pauses[9:])
    others = {backoff_ms(run, node_id, path, 1) for run in "ab" for node_id in "ab" for path in ("", "l:0")}
    assert len(others) == 8


def wide(count: int) -> dict[str, Any]:
    names = [f"a{n}" for n in range(count)]
    return {"root": node("manual", *names), **{name: node("act") for name in names}}


def test_calls_beyond_the_limit_wait_their_turn_in_order() -> None:
    run = scheduler(wide(PARALLEL_CALLS + 3))
    assert calls(run.apply(Start(0))) == [f"a{n}" for n in range(PARALLEL_CALLS)]
    assert calls(run.apply(NodeDone("a4", "", 1))) == ["a10"]
    assert calls(run.apply(NodeDone("a0", "", 1))) == ["a11"]


def test_failing_run_begins_nothing_and_ends_when_its_calls_are_back() -> None:
    run = scheduler(wide(PARALLEL_CALLS + 3))
    run.apply(Start(0))
    out = run.apply(NodeDone("a0", "", 1, error=NO))
    assert told(out) == [("a0", "", "failure")]
    for n in range(1, PARALLEL_CALLS):
        assert run.status is None
        out = run.apply(NodeDone(f"a{n}", "", 2, error=AGAIN if n == 1 else None))
    assert out[-1] == FinishRun("failure", 2)
    assert calls(out) == []


def test_answer_of_the_store_goes_on_while_another_branch_calls() -> None:
    nodes = {**waiting("resumed", "timed_out"), "a": node("act")}
    nodes["root"] = node("manual", "w", "a")
    run = scheduler(nodes)
    timer = run.apply(Start(0))[0]
    assert isinstance(timer, StartTimer)
    assert run.waiting == [("w", "")]
    done = NodeRecord(9, "w", "", "wait", "success", None, {"status": "resumed"}, "resumed", 0, 5)
    out = run.apply(Answered(done, 6))
    assert told(out) == [("timed_out", "", "skipped"), ("resumed", "", "success")]
    assert run.apply(Answered(done, 7)) == []
    assert run.apply(NodeDone("a", "", 8))[-1] == FinishRun("success", 8)


def test_node_deadline_goes_with_the_call() -> None:
    def first(**more: Any) -> int:
        (call,) = scheduler({"root": node("manual", "a"), "a": node("act", **more)}).apply(Start(0))
        assert isinstance(call, CallAction)
        return call.timeout_ms

    assert (first(), first(timeoutMs=250)) == (60_000, 250)


def test_run_deadline_ends_what_is_open() -> None:
    nodes = {**waiting("resumed", "timed_out"), "a": node("act"), "b": node("act", maxRetries=3)}
    nodes["root"] = node("manual", "w", "a", "b")
    run = scheduler(nodes, started_ms=1000, timeout_ms=3000)
    first = run.apply(Start(1000))
    assert StartDeadline(3000) in first
    run.apply(NodeDone("b", "", 1001, error=AGAIN))
    assert run.wake_ms <= 4000
    out = run.apply(Tick(4000))
    assert {(node_id, status) for node_id, _, status in told(out)} >= {("w", "failure"), ("a", "failure")}
    assert {r.result["error"]["code"] for r in records(out) if r.status == "failure"} == {"400351"}
    assert out[-1] == FinishRun("failure", 4000)


def test_run_taken_up_after_its_deadline_begins_nothing() -> None:
    out = scheduler(wide(3), started_ms=1, timeout_ms=1000).apply(Start(1001))
    assert calls(out) == []
    assert told(out) == [("a0", "", "failure")]
    assert out[-1] == FinishRun("failure", 1001)


def test_run_without_a_deadline_of_its_own_has_a_month() -> None:
    run = scheduler(wide(1))
    run.apply(Start(0))
    assert run.wake_ms == RUN_MS


def test_cancelled_run_ends_and_hears_nothing_more() -> None:
    run = scheduler(wide(2))
    run.apply(Start(0))
    assert run.apply(Cancel(1)) == [FinishRun("cancelled", 1)]
    assert run.apply(NodeDone("a0", "", 2)) == []


LOOP: dict[str, Any] = {
    "root": node("manual", "loop"),
    "loop": node("for-each", "end", payload={"array": "{{$storage.list || $trigger.list}}"}, loopBody=["put"]),
    "put": node("storage", "act", payload={"key": "list", "value": ["{{$index}}"]}),
    "act": node("act", payload={"x": "{{$item}}"}, onError="continue"),
    "end": node("log", payload={"message": "{{loop.iterations.1.act.status}} {{loop.iterations.0.act.result.ok}}"}),
}


def test_loop_goes_on_with_the_items_that_it_began_with() -> None:
    run = scheduler(LOOP, list=["a", "b"])
    out = run.apply(Start(0))
    again = scheduler(LOOP, list=["a", "b"])
    for record in records(out):
        again.apply(Recorded(record))
    again.apply(Resume(1))
    again.apply(NodeDone("act", "loop:0", 2, {"ok": 7}))
    out = again.apply(NodeDone("act", "loop:1", 3, error=NO))
    assert records(out)[-1].result["message"] == "failure 7"
    assert out[-1] == FinishRun("success", 3)


def test_results_of_an_iteration_are_not_seen_by_the_next_nor_after_the_loop() -> None:
    out = scheduler(
        {
            "root": node("manual", "loop"),
            "loop": node("for-each", "end", payload={"array": [5, 1]}, loopBody=["if"]),
            "if": node("if", "yes", "say", payload={"condition": {"$and": [{"{{$item}}": {"$gt": 3}}]}}),
            "yes": node("log", "say", branch="then", payload={"message": "yes"}),
            "say": node("log", payload={"message": "{{yes.result.message || 'none'}}"}),
            "end": node("log", payload={"message": "{{say.result.message || 'none'}} {{$item || 'none'}}"}),
        }
    ).apply(Start(0))
    said = [r.result["message"] for r in records(out) if r.node_id in ("say", "end") and r.status == "success"]
    assert said == ["yes", "none", "none none"]


def test_node_budget_ends_the_run_whatever_the_node_says() -> None:
    nodes = {
        "root": node("manual", "o"),
        "o": node("for-each", payload={"array": list(range(100))}, loopBody=["i"], onError="continue"),
        "i": node("for-each", payload={"array": list(range(100))}, loopBody=["x"], onError="continue"),
        "x": node("log", payload={"message": ""}, onError="continue"),
    }
    out = scheduler(nodes).apply(Start(0))
    last = records(out)[-1]
    assert (last.status, last.result["error"]["code"]) == ("failure", "400301")
    assert "nodes budget of 10000" in last.result["error"]["message"]
    assert out[-1] == FinishRun("failure", 0)
    ends = [(r.node_id, r.path) for r in records(out) if r.status != "running"]
    assert len(ends) == len(set(ends))


def test_eleventh_level_of_loops_fails_its_node() -> None:
    loops = {f"l{n}": node("for-each", payload={"array": [1]}, loopBody=[f"l{n + 1}"]) for n in range(11)}
    out = scheduler({"root": node("manual", "l0"), **loops, "l11": node("log")}).apply(Start(0))
    failed = [r for r in records(out) if r.status == "failure"]
    assert [(r.node_id, r.result["error"]["code"]) for r in failed] == [("l10", "400301")]


def test_edited_input_replaces_the_rendered_payload_of_one_node_in_one_iteration() -> None:
    edited = Edited("act", "loop:1", {"x": "mine"})
    run = scheduler(LOOP, list=["a", "b"], edited=edited)
    run.apply(Start(0))
    (call,) = [c for c in run.apply(NodeDone("act", "loop:0", 1)) if isinstance(c, CallAction)]
    assert call.input == {"x": "mine"}


def test_execution_state_of_a_run_that_is_over_leaves_nothing_open() -> None:
    nodes = {**LOOP, "act": node("act"), "w": node("delay", payload={"delayMs": 5})}
    nodes["root"] = node("manual", "loop", "w")
    run = scheduler(nodes, list=[1])
    out = [*run.apply(Start(0)), *run.apply(NodeDone("act", "loop:0", 1, error=NO))]
    state = execution_state(compiled(nodes).definition, records(out), is_over=True)
    assert {name: one["status"] for name, one in state.items()} == {
        "loop": "failure", "w": "cancelled", "end": "pending",
    }  # fmt: skip
    assert state["loop"]["iterations"][0]["act"]["status"] == "failure"
    live = execution_state(compiled(nodes).definition, records(out)[:2], running=[("act", "loop:0")])
    assert live["loop"]["iterations"][0]["act"] == {"type": "act", "status": "running"}


EVERYTHING: dict[str, Any] = {
    "root": node("manual", "a", "w", "d", "if"),
    "a": node("act", maxRetries=2, onError="continue"),
    "w": node("wait", "r", payload={"timeoutMs": 5000}, onError="continue"),
    "r": node("act", branch="resumed", maxRetries=2, onError="continue"),
    "d": node("delay", "b", payload={"delayMs": 1000}),
    "b": node("act", maxRetries=2),
    "if": node("if", "no", payload={"condition": {"$and": [{"{{$trigger.n}}": {"$gt": 3}}]}}),
    "no": node("log", branch="else"),
}


def test_every_transition_of_the_tables_happens_and_no_other() -> None:
    moves: set[tuple[str, str]] = set()
    run_moves: set[tuple[str, str]] = set()
    for salt in range(60):
        for limit in (1500, 60_000):
            world = World(compiled(EVERYTHING, timeoutMs=limit), salt=salt, n=9).run()
            moves |= world.moves
            run_moves |= world.run_moves
    assert moves == NODE.keys()
    assert run_moves | {("running", "cancelled"), ("waiting", "cancelled")} == RUN.keys()


def test_finishing_is_recorded_before_the_run_ends() -> None:
    out = scheduler(wide(0)).apply(Start(0))
    assert out == [FinishRun("success", 0)]
    assert isinstance(scheduler({"root": node("manual", "l"), "l": node("log")}).apply(Start(0))[0], Record)
