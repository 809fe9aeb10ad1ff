"""Bounds and races inside runs: R19 what is too large, R31 two answers, R32 two ends at once."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.faults.conftest import Grow
from tests.faults.plant import Plant, Process
from tests.faults.verdict import await_end, check, check_once
from tests.faults.workload import effect, log, publish, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(300)
GROWTH_LIMIT_KB = 50 * 1024


def rss_kb(process: Process) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize(
    ("kind", "size", "ends"),
    [("text", 50_000_000, "failure"), ("error", 10_000_000, "failure"), ("array", 100_000, "success")],
)
def test_r19_what_is_too_large_stays_small(grow: Grow, kind: str, size: int, ends: str) -> None:
    plant = grow("worker")
    worker = plant.processes[-1]
    payload = {"url": f"{plant.ledger.url}/big?kind={kind}&size={size}"}
    big = publish(plant, {"big": {"type": "http-request", "payload": payload, "children": ["a"]}, "a": log()}, "big")
    small = publish(plant, {"a": log()}, "a")
    send(plant, small, [0])
    await_end(plant, small)
    before = rss_kb(worker)
    accepted = send(plant, big, range(3))
    others = send(plant, small, range(1, 20))
    await_end(plant, big)
    await_end(plant, small)
    check(plant, small, [*others.values(), *first_run(plant, small, others)])
    rows = plant.ask("select status, pg_column_size(result) as size, length(result::text) as length from node_runs "
                     "where node_id = 'big' and run_id = any($1)", list(accepted.values()))  # fmt: skip
    assert [row["status"] for row in rows] == [ends] * 3
    if ends == "failure":
        assert max(row["length"] for row in rows) <= 8192, "an error is short"
    assert rss_kb(worker) - before < GROWTH_LIMIT_KB


def first_run(plant: Plant, workflow: dict[str, Any], others: dict[int, str]) -> list[str]:
    sql = "select id from runs where workflow_id = $1 and not id = any($2)"
    return [row["id"] for row in plant.ask(sql, workflow["id"], list(others.values()))]


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_r31_of_two_answers_to_one_wait_one_wins(grow: Grow, count: int) -> None:
    plant = grow("worker")
    nodes = {"ask": {"type": "wait", "payload": {"timeoutMs": 120_000}, "children": ["one"]},
             "one": {**effect(plant, "/one"), "branch": "resumed"}}  # fmt: skip
    workflow = publish(plant, nodes, "ask")
    accepted = send(plant, workflow, range(count))
    waiting = "select count(*) as n from runs where workflow_id = $1 and status = 'waiting'"
    until(lambda: plant.ask(waiting, workflow["id"])[0]["n"] == count, 60, "every run waits")
    told = plant.wait(answer_twice(plant, workflow["triggerSecret"], list(accepted.values())))
    assert all(pair == Counter({"resumed": 1, "skipped": 1}) for pair in told), Counter(map(str, told))
    await_end(plant, workflow)
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", count=count)


async def answer_twice(plant: Plant, secret: str, run_ids: list[str]) -> list[Counter[str]]:
    """Send two answers to each run at once; returns what each pair was told."""
    room = asyncio.Semaphore(16)
    async with aiohttp.ClientSession() as session:

        async def one(run_id: str) -> str:
            url = f"{plant.url}/v1/runs/{run_id}/nodes/ask/resume?secret={secret}"
            headers = {"authorization": f"Bearer {plant.key}"}
            async with session.post(url, json={"data": {}}, headers=headers) as response:
                return str((await response.json())["data"]["action"])

        async def pair(run_id: str) -> Counter[str]:
            async with room:
                return Counter(await asyncio.gather(one(run_id), one(run_id)))

        return await asyncio.gather(*map(pair, run_ids))


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.long)])
def test_r32_branches_that_end_at_once_end_their_run_once(grow: Grow, count: int) -> None:
    plant = grow("worker", "worker")
    branches = {f"b{n}": effect(plant, f"/{n}", "join") for n in range(4)}
    workflow = publish(plant, {**branches, "join": effect(plant, "/join")}, *branches)
    accepted = send(plant, workflow, range(count))
    await_end(plant, workflow, 120)
    check(plant, workflow, accepted.values())
    check_once(plant, "/0", "/1", "/2", "/3", "/join", count=count)
