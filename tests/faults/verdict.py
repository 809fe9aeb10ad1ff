"""The checker: what the promises say of a finished test, read from the database and the ledger.

I1 no accepted trigger is lost, I2 each is one run, I3 no node runs again after its result is recorded, I5 each run has
one final state, I6 none is idle. The numbers are those of the promises in ARCHITECTURE.md.
"""

import time
from collections.abc import Iterable
from typing import Any

from tests.faults.plant import Plant, Process
from tests.system.house import until

#: A killed worker's runs go on elsewhere within this.
TAKEOVER_S = 10.0
FINAL = ("success", "partial", "failure", "cancelled")


def await_end(plant: Plant, workflow: dict[str, Any], limit_s: float = 60.0) -> None:
    """Wait until no run of a workflow is open."""
    sql = "select count(*) as open from runs where workflow_id = $1 and status in ('running', 'waiting')"
    until(lambda: plant.ask(sql, workflow["id"])[0]["open"] == 0, limit_s, "every run's end")


def check(
    plant: Plant,
    workflow: dict[str, Any],
    accepted: Iterable[str],
    *,
    may_retry: bool = False,
    clocks_agree: bool = True,
) -> None:
    """Hold a workflow's runs and effects against the promises: all succeed, with a retry only where actions fail."""
    runs = plant.ask("select id, status, owner, finished_at from runs where workflow_id = $1", workflow["id"])
    wanted = list(accepted)
    assert sorted(run["id"] for run in runs) == sorted(wanted), "I1, I2: one run for each accepted trigger"
    assert {run["status"] for run in runs} == {"success"}, f"I5: its one final state; errors: {errors(plant, wanted)}"
    assert all(run["finished_at"] and run["owner"] is None for run in runs), "I5: ended and let go"
    records = plant.ask(
        "select run_id, node_id, path, attempt, finished_ms from node_runs where final and run_id = any($1)", wanted
    )
    assert may_retry or {record["attempt"] for record in records} <= {1}, "no retry burnt"
    if clocks_agree:
        check_effects(plant, records)
    for name in ("retry", "archived"):
        for lane in ("critical", "default"):
            assert plant.redis.zcard(f"asynq:{{{lane}}}:{name}") == 0, "no task failed"


def errors(plant: Plant, run_ids: list[str]) -> list[str]:
    """A few errors of runs, for a failing check to show."""
    sql = "select result::text as told from node_runs where run_id = any($1) and status = 'failure' limit 3"
    return [row["told"][:400] for row in plant.ask(sql, run_ids)]


def check_effects(plant: Plant, records: list[Any]) -> None:
    """I3: what is recorded was done, and nothing was called after its record."""
    ends = {f"{r['run_id']}:{r['path']}:{r['node_id']}": r["finished_ms"] for r in records}
    for entry in plant.ledger.entries():
        assert entry.at_ms <= ends.get(entry.key, entry.at_ms), f"I3: {entry.key} was called after its record"


def check_once(plant: Plant, *paths: str, count: int) -> None:
    """Each of `count` effects of a path was called exactly once: nothing gave a reason to repeat it."""
    for path in paths:
        calls = plant.ledger.calls(path)
        assert (len(calls), max(calls.values())) == (count, 1), f"effects of {path}"


def held_by(plant: Plant, worker: Process) -> list[str]:
    """The runs that a worker holds."""
    sql = "select id from runs where owner = $1 and status = 'running'"
    return [row["id"] for row in plant.ask(sql, plant.owner_of(worker))]


def await_takeover(plant: Plant, run_ids: list[str], owner: str, since: float, limit_s: float = TAKEOVER_S) -> float:
    """Wait until each run has another owner or has ended; returns the seconds since `since`, at most `limit_s`."""
    sql = """select count(*) as still from runs where id = any($1) and status = 'running'
        and (owner = $2 or owner is null)"""
    until(lambda: plant.ask(sql, run_ids, owner)[0]["still"] == 0,
          limit_s - (time.monotonic() - since), "takeover")  # fmt: skip
    return time.monotonic() - since
