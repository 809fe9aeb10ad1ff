"""R30: what would go on without end stops exactly at its limit, by name, and takes no other run with it."""

from typing import Any

import pytest

from tests.faults.conftest import Grow
from tests.faults.plant import Plant
from tests.faults.verdict import await_end, check
from tests.faults.workload import log, publish, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(300)
ITEMS, NODES, LEVELS, CALLS = 100, 10_000, 10, 10


def each(*body: str, children: tuple[str, ...] = ()) -> dict[str, Any]:
    """A loop over what the trigger brings."""
    payload = {"array": "{{$trigger.body.list}}"}
    return {"type": "for-each", "payload": payload, "loopBody": list(body), "children": list(children)}


def chain(name: str, length: int) -> dict[str, Any]:
    """Nodes one after another, name0 first."""
    return {f"{name}{n}": log(*([f"{name}{n + 1}"] if n + 1 < length else [])) for n in range(length)}


def fire(plant: Plant, workflow: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Run once to the end; returns status, codes of errors, and how many nodes have ended."""
    run_id = plant.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", body)["data"]["runId"]
    status = plant.finished_run(run_id)["status"]
    rows = plant.ask(
        """select count(*) filter (where status = 'success') as ended,
            array_agg(distinct result -> 'error' ->> 'code') filter (where status = 'failure') as codes
        from node_runs where final and run_id = $1""",
        run_id,
    )
    return {"status": status, "codes": rows[0]["codes"], "ended": rows[0]["ended"]}


def test_r30_a_loop_takes_100_items_and_a_run_10000_nodes(grow: Grow) -> None:
    plant = grow("worker")
    body, after = 99, NODES - 1 - ITEMS * 99
    loop = publish(plant, {"each": each("in0"), **chain("in", 1)}, "each")
    small = publish(plant, {"a": log()}, "a")
    most = publish(plant, {"each": each("in0", children=("out0",)), **chain("in", body), **chain("out", after)}, "each")
    over = publish(
        plant, {"each": each("in0", children=("out0",)), **chain("in", body), **chain("out", after + 1)}, "each"
    )
    full = {"list": list(range(ITEMS))}
    assert fire(plant, loop, full) == {"status": "success", "codes": None, "ended": 1 + ITEMS}
    assert fire(plant, loop, {"list": [*full["list"], 0]}) == {"status": "failure", "codes": ["400301"], "ended": 0}
    assert fire(plant, most, full) == {"status": "success", "codes": None, "ended": NODES}
    others = send(plant, small, range(20))
    assert fire(plant, over, full) == {"status": "failure", "codes": ["400301"], "ended": NODES}
    await_end(plant, small)
    check(plant, small, others.values())


def test_r30_loops_nest_10_deep(grow: Grow) -> None:
    plant = grow("worker")

    def nested(levels: int) -> dict[str, Any]:
        loops = {f"each{n}": each(f"each{n + 1}" if n + 1 < levels else "in0") for n in range(levels)}
        return {**loops, **chain("in", 1)}

    deepest = publish(plant, nested(LEVELS), "each0")
    assert fire(plant, deepest, {"list": [1]}) == {"status": "success", "codes": None, "ended": LEVELS + 1}
    with pytest.raises(AssertionError, match="loop_too_deep"):
        publish(plant, nested(LEVELS + 1), "each0")


def test_r30_a_workflow_that_calls_itself_ends(grow: Grow) -> None:
    plant = grow("worker")
    again = {"workflowId": "{{$trigger.body.me}}", "payload": {"me": "{{$trigger.body.me}}"}}
    workflow = publish(plant, {"again": {"type": "trigger-workflow", "payload": again, "children": []}}, "again")
    first = fire(plant, workflow, {"me": workflow["id"]})
    assert first["status"] == "success"
    sql = """select r.status, n.result -> 'error' ->> 'code' as code
        from runs r join node_runs n on n.run_id = r.id and n.node_id = 'again' and n.final
        where r.workflow_id = $1 order by r.started_at, r.id"""
    until(lambda: any(row["status"] == "failure" for row in plant.ask(sql, workflow["id"])), 30, "the last call")
    found = [(row["status"], row["code"]) for row in plant.ask(sql, workflow["id"])]
    assert sorted(found) == [("failure", "400366")] + [("success", None)] * CALLS
