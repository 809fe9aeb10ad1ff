"""Two masters share one clock's slots: R11 the leader sleeps, R23 clocks differ."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Grow
from tests.faults.plant import Plant, Process
from tests.faults.test_links import check_slots, every_second, slots
from tests.faults.verdict import await_end, check
from tests.faults.workload import five_nodes, log, publish, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(300)
#: A master's lease is 4 s.
SLEEP_S = 12.0
FAILOVER_S = 5.0
CLOCK = str(Path(__file__).parent / "clock")


def test_r11_a_leader_that_sleeps_past_its_lease_fires_nothing_twice(grow: Grow) -> None:
    plant = grow("worker", "master", "master")
    cron = every_second(plant)
    until(lambda: len(slots(plant, cron)) >= 2, what="two slots")
    first = plant.ask("select owner, epoch from leases where name = 'cron'")[0]
    leader = leads(plant, plant.processes[-2:])
    leader.signal(signal.SIGSTOP)
    began, last = time.monotonic(), slots(plant, cron)[-1]
    until(lambda: slots(plant, cron)[-1] > last + 1, 20, "the other master's slots")
    taken_s = time.monotonic() - began
    second = plant.ask("select owner, epoch from leases where name = 'cron'")[0]
    assert second["owner"] != first["owner"]
    assert second["epoch"] > first["epoch"]
    plant.pause(max(0.0, SLEEP_S - taken_s))
    leader.signal(signal.SIGCONT)
    woken = int(time.time())
    # The one that slept is the older, and may ask for the clock again.
    until(lambda: slots(plant, cron)[-1] > woken + 5, 20, "slots after it woke")
    plant.call("POST", f"/v1/workflows/{cron['id']}/pause")
    check_slots(plant, cron)
    assert taken_s < FAILOVER_S + 2, "the lease, and a slot or two"
    await_end(plant, cron)


def leads(plant: Plant, masters: list[Process]) -> Process:
    """Find the master that holds the cron lease, by what it says on its way to the database."""
    owner = plant.ask("select owner from leases where name = 'cron'")[0]["owner"].encode()
    heard: list[Process] = []
    for master in masters:
        master.links["postgres"].strike(
            lambda up, data: up and owner in data, lambda master=master: heard.append(master), passes=True
        )  # fmt: skip
    until(lambda: heard, what="a renewal of the lease")
    return heard[0]


@pytest.mark.parametrize("offset_s", [86_400, pytest.param(-3600, marks=pytest.mark.long)])
def test_r23_a_worker_whose_clock_is_wrong_changes_nothing(grow: Grow, offset_s: int) -> None:
    plant = grow("worker")
    path = os.pathsep.join((CLOCK, os.environ.get("PYTHONPATH", "")))
    plant.start("worker", PYTHONPATH=path, B3OS_TEST_CLOCK_OFFSET_S=str(offset_s))
    nodes = {"nap": {"type": "delay", "payload": {"delayMs": 3000}, "children": ["one"]}, "one": log()}
    naps = publish(plant, nodes, "nap")
    workflow = five_nodes(plant)
    slept = send(plant, naps, range(20))
    accepted = send(plant, workflow, range(60))
    await_end(plant, workflow)
    await_end(plant, naps)
    check(plant, workflow, accepted.values(), clocks_agree=False)
    check(plant, naps, slept.values(), clocks_agree=False)
    took = "select min(finished_at - started_at) as least, max(finished_at - started_at) as most from runs"
    row = plant.ask(f"{took} where id = any($1)", list(slept.values()))[0]
    assert row["least"].total_seconds() >= 3.0, "no timer fires early"
    assert row["most"].total_seconds() < 60, "none is a clock's error late"
    assert all(count == 1 for count in plant.ledger.calls().values())
