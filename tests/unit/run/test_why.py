"""One answer for every state that a run can be in."""

import re
from pathlib import Path
from typing import Any

import pytest

import b3os.run.why as why_module
from b3os.run.events import NodeDone, Start
from b3os.run.frontier import Head, head_of
from b3os.run.records import NodeError
from b3os.run.why import Facts, Timer, Why, why
from tests.unit.run.build import compiled, node, records, scheduler

NODES: dict[str, Any] = {
    "root": node("manual", "a", "w", "d", "loop"),
    "a": node("act", "end", maxRetries=1),
    "w": node("wait", payload={"timeoutMs": 5000}),
    "d": node("delay", payload={"delayMs": 9000}),
    "loop": node("for-each", payload={"array": [1, 2]}, loopBody=["b"]),
    "b": node("act"),
    "end": node("log"),
}
GRAPH = compiled(NODES)
W, D = Timer("w", "", "wait", 6000), Timer("d", "", "delay", 10_000)


def heads(*more: Head) -> list[Head]:
    """What is stored of a run that called `a` and the first `b`, and waits beside."""
    return [head_of(record) for record in records(scheduler(NODES).apply(Start(1000)))] + list(more)


def ask(status: str = "running", *, held: int | None = None, **more: Any) -> Why:
    facts: dict[str, Any] = {"heads": heads(), "timers": [W, D], "live_workers": 1, **more}
    return why(
        GRAPH,
        Facts(
            status=status, trigger_node="root", now_ms=2000, started_ms=1000, has_owner=held is not None,
            owner_until_ms=held, **facts,
        ),
    )  # fmt: skip


def test_run_in_hand_tells_its_calls_first_and_then_its_waits() -> None:
    found = ask(held=7000)
    assert (found.reason, found.node_id, found.since) == ("action_in_flight", "a", "1970-01-01T00:00:01.000Z")
    assert [(cause.reason, cause.node_id, cause.path) for cause in found.others] == [
        ("action_in_flight", "b", "loop:0"), ("waiting_for_callback", "w", ""), ("waiting_for_timer", "d", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"held": 1999}, "owner_lost"),
        ({"held": 1999, "live_workers": 0}, "no_worker"),
        ({}, "queued"),
        ({"is_queued": False}, "over_concurrency"),
        ({"live_workers": 0}, "no_worker"),
    ],
)
def test_run_that_nobody_holds_says_who_will(more: dict[str, Any], reason: str) -> None:
    assert ask(**more).reason == reason


def test_waiting_run_tells_the_soonest_and_the_rest() -> None:
    done = [
        Head(node_id=n, path=p, type="act", status="success") for n, p in (("a", ""), ("b", "loop:0"), ("b", "loop:1"))
    ]
    done.append(Head(node_id="loop", path="", type="for-each", status="success", items=2))
    done.append(Head(node_id="end", path="", type="log", status="success"))
    found = ask("waiting", heads=heads(*done))
    assert (found.reason, found.node_id, found.until) == ("waiting_for_callback", "w", "1970-01-01T00:00:06.000Z")
    assert [cause.reason for cause in found.others] == ["waiting_for_timer"]
    assert ask("waiting", heads=heads(*done), timers=[D]).reason == "waiting_for_timer"
    assert ask("waiting", heads=[], timers=[]).reason == "stalled"


def test_retry_says_when_and_after_what_error() -> None:
    run = scheduler(NODES)
    first = records(run.apply(Start(1000)))
    second = records(run.apply(NodeDone("a", "", 1500, error=NodeError("X", "down", retryable=True))))
    stored = [head_of(record) for record in first]
    scheduled = second[0]
    stored.append(
        Head(
            node_id="a", path="", type="act", status="scheduled", attempt=2, seq=scheduled.seq, error_message="down",
            retry_ms=scheduled.result["retryAtMs"], started_ms=1000,
        )
    )  # fmt: skip
    found = ask(held=7000, heads=stored)
    (cause,) = [one for one in found.others if one.node_id == "a"]
    if cause.reason == "waiting_for_retry":
        assert (cause.until, "down" in cause.message, "attempt 2" in cause.message) == (
            scheduled.result["retryAt"], True, True,
        )  # fmt: skip
    assert cause.reason == ("waiting_for_retry" if scheduled.result["retryAtMs"] > 2000 else "action_in_flight")


def test_calls_beyond_the_limit_say_so() -> None:
    names = [f"a{n}" for n in range(12)]
    graph = compiled({"root": node("manual", *names), **{name: node("act") for name in names}})
    facts = Facts(status="running", trigger_node="root", now_ms=2, started_ms=1, has_owner=True, owner_until_ms=9)
    found = why(graph, facts)
    assert [cause.reason for cause in found.others] == ["action_in_flight"] * 9 + ["over_concurrency"] * 2


def test_failing_run_says_what_it_waits_for() -> None:
    fatal = Head(node_id="a", path="", type="act", status="failure", seq=9, error_message="no", finished_ms=1500)
    found = ask(held=7000, heads=heads(fatal))
    assert (found.reason, found.node_id) == ("failing", "a")
    assert found.others[0].reason == "action_in_flight"


def test_worker_that_computes_is_working() -> None:
    nodes = {"root": node("manual", "l"), "l": node("log")}
    facts = Facts(status="running", trigger_node="root", now_ms=2, started_ms=1, has_owner=True, owner_until_ms=9)
    assert why(compiled(nodes), facts).reason == "working"
    assert why(None, facts).reason == "working"


def test_ended_run_says_which_node_ended_it() -> None:
    fatal = Head(node_id="b", path="loop:1", type="act", status="failure", seq=9, error_message="no funds")
    found = ask("failure", finished_ms=3000, heads=heads(fatal))
    assert (found.reason, found.node_id, found.path, found.message) == ("failed", "b", "loop:1", "b failed: no funds")
    last = Head(node_id="end", path="", type="log", status="success", seq=10)
    assert ask("success", finished_ms=3000, heads=heads(last)).node_id == "end"
    assert ask("cancelled", finished_ms=3000).reason == "cancelled"
    assert ask("failure", heads=[]).reason == "failed"


def test_every_reason_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs/runs.md").read_text()
    reasons = re.findall(r"`(\w+)`", str(why_module.__doc__))
    assert len(reasons) == 14
    for reason in reasons:
        assert f"`{reason}`" in page
