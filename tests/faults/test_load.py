"""More than there is room for: R17 a backlog multiplies no load, R18 a quiet organization feels no noisy one."""

import asyncio
import time
from collections import Counter
from typing import Any

import aiohttp
import msgspec
import pytest

from services.worker.app import CONCURRENCY
from tests.faults.conftest import Grow
from tests.faults.plant import Plant
from tests.faults.verdict import await_end, check
from tests.faults.workload import effect, log, publish, send
from tests.system.house import Client, until

pytestmark = pytest.mark.timeout(400)
LONG = pytest.mark.long
LOOK_S = 3.0
#: Runs one after another, for what one costs an idle engine.
ALONE = 10
RATE, WINDOW, SENDERS = 50, 20, 8
SAMPLES, TRICKLE_S, TRIES = 40, 0.05, 3
#: What the quiet one may wait beside twice its own wait: the machine is shared by all that the test does.
SLACK_MS = 100


def open_window(plant: Plant, org_id: str, size: int | None) -> None:
    """Let an organization have so many runs in the queue and in hand."""
    plant.ask("update organizations set run_window = $2 where org_id = $1", org_id, size)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=LONG)])
def test_r17_a_backlog_costs_nothing_while_it_waits_and_no_more_per_run_when_it_goes(grow: Grow, count: int) -> None:
    plant = grow("worker")
    link = plant.processes[-1].links["postgres"]

    def trips(seconds: float) -> int:
        before = link.trips
        plant.pause(seconds)
        return link.trips - before

    held = publish(plant, {"one": effect(plant, "/held")}, "one")
    workflow = publish(plant, {"a": log("b"), "b": log()}, "a")
    open_window(plant, plant.org_id, 1)
    holder = send(plant, held, [0])
    until(lambda: plant.ledger.entries("/held"), what="the one that holds the place")
    accepted = send(plant, workflow, [0])
    one_waits = trips(LOOK_S)
    accepted |= send(plant, workflow, range(1, count), 240)
    # The wakes of the last calls still arrive; a look at each that waits would be a round trip for each, every second.
    assert trips(LOOK_S) <= one_waits + count // 4, "who waits is not looked at one by one"
    open_window(plant, plant.org_id, 50)
    before = link.trips
    plant.ledger.release()
    await_end(plant, held)
    await_end(plant, workflow, 300)
    each = (link.trips - before) / count
    before = link.trips
    for number in range(count, count + ALONE):
        accepted |= send(plant, workflow, [number])
        await_end(plant, workflow)
    each_alone = (link.trips - before) / ALONE
    assert each <= each_alone * 1.1, f"{each:.2f} round trips for a run of the backlog, {each_alone:.2f} for one alone"
    check(plant, workflow, accepted.values())
    check(plant, held, holder.values())
    claims = plant.ask("select max(epoch) as most from runs where workflow_id = $1", workflow["id"])
    assert claims[0]["most"] == 1, "each was taken once"


def test_r18_a_noisy_organization_is_not_felt_by_a_quiet_one(grow: Grow) -> None:
    """The noisy one's runs are held; without its limits they take every place that there is."""
    plant = grow("worker", B3OS_RATE_LIMIT=str(RATE))
    quiet = publish(plant, {"a": log("b"), "b": log()}, "a")
    noisy = Client(plant.port)
    noisy.bootstrap()
    workflow = publish(noisy, {"one": effect(plant, "/held")}, "one")
    open_window(plant, noisy.org_id, WINDOW)
    for _ in range(TRIES):
        alone = p99_ms(plant, quiet, plant.wait(trickle(plant, quiet)))
        beside = p99_beside(plant, noisy, workflow, quiet, WINDOW)
        assert beside.told[429], "refused beyond its limit"
        assert beside.told[200] <= RATE * (beside.seconds + 2)
        if beside.wait_ms <= 2 * alone + SLACK_MS:
            break
    else:
        raise AssertionError(f"{beside.wait_ms} ms beside a noisy neighbour, {alone} ms alone")

    # The same without the limits fails the same judgement, or the judgement is worth nothing.
    plant.become("worker")
    open_window(plant, noisy.org_id, 1_000_000)
    without = p99_beside(plant, noisy, workflow, quiet, CONCURRENCY)
    assert not without.told[429]
    assert without.wait_ms > 2 * alone + SLACK_MS
    for each in (workflow, quiet):
        runs = plant.ask("select id, status from runs where workflow_id = $1", each["id"])
        assert {run["status"] for run in runs} == {"success"}


class Beside(msgspec.Struct, frozen=True):
    """What a flood was told, status by status, for how long it went, and the quiet one's wait beside it."""

    told: Counter[int]
    seconds: float
    wait_ms: float


def p99_beside(plant: Plant, noisy: Client, workflow: dict[str, Any], quiet: dict[str, Any], places: int) -> Beside:
    """Flood for one organization until it has its places, then measure another; release everything at the end."""
    plant.ledger.begin_anew()
    stop, began = asyncio.Event(), time.monotonic()
    flooding = plant.spawn(flood(noisy, workflow, stop))
    until(lambda: len(plant.ledger.calls("/held")) >= places, 60, "the places of the noisy one")
    # Admissions that commit at the same moment do not see each other: the window may be passed by as many.
    assert len(plant.ledger.calls("/held")) <= places + SENDERS
    runs = plant.wait(trickle(plant, quiet))
    plant.call_soon(stop.set)
    told = flooding.result(60)
    seconds = time.monotonic() - began
    plant.ledger.release()
    await_end(plant, workflow, 120)
    return Beside(told, seconds, p99_ms(plant, quiet, runs))


def p99_ms(plant: Plant, workflow: dict[str, Any], runs: list[str]) -> float:
    """How long all but one in a hundred of some runs waited at most, from acceptance to their first node."""
    await_end(plant, workflow)
    sql = """select n.started_ms - extract(epoch from r.started_at)::float8 * 1000 as wait
        from runs r join node_runs n on n.run_id = r.id and n.node_id = 'a' and n.final where r.id = any($1)"""
    waits = sorted(row["wait"] for row in plant.ask(sql, runs))
    assert len(waits) == SAMPLES
    return float(waits[len(waits) * 99 // 100])


async def trickle(plant: Plant, workflow: dict[str, Any]) -> list[str]:
    """Fire now and then; returns the runs."""
    async with aiohttp.ClientSession() as session:
        runs = []
        for _ in range(SAMPLES):
            async with session.post(f"{plant.url}/v1/webhooks/{workflow['triggerSecret']}", json={"n": 0}) as response:
                runs.append((await response.json())["data"]["runId"])
            await asyncio.sleep(TRICKLE_S)
        return runs


async def flood(client: Client, workflow: dict[str, Any], stop: asyncio.Event) -> Counter[int]:
    """Start runs many times as often as the limit allows; returns how often each status was answered."""
    told: Counter[int] = Counter()
    url, headers = f"{client.url}/v1/workflows/{workflow['id']}/run", {"authorization": f"Bearer {client.key}"}
    async with aiohttp.ClientSession() as session:

        async def go_on() -> None:
            while not stop.is_set():
                async with session.post(url, json={}, headers=headers) as response:
                    told[response.status] += 1
                await asyncio.sleep(SENDERS / (4 * RATE))

        await asyncio.gather(*[go_on() for _ in range(SENDERS)])
    return told
