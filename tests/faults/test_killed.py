"""Workers and all the others are killed, paused and restarted: R01, R03, R05, R12."""

import signal
import time

import pytest

from tests.faults.conftest import Grow
from tests.faults.verdict import TAKEOVER_S, await_end, await_takeover, check, check_once, held_by
from tests.faults.workload import effect, five_nodes, publish, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize(("kills", "each"), [(2, 60), pytest.param(8, 250, marks=pytest.mark.long)])
def test_r01_a_worker_is_killed_again_and_again_under_load(grow: Grow, kills: int, each: int) -> None:
    plant = grow("worker", "worker", "worker")
    workflow = five_nodes(plant)
    workers = [process for process in plant.processes if process.name == "worker"]
    accepted: dict[int, str] = {}
    for kill in range(kills):
        accepted |= send(plant, workflow, range(kill * each, (kill + 1) * each))
        victim = workers.pop(0)
        owner = plant.owner_of(victim)
        victim.kill()
        began = time.monotonic()
        workers.append(plant.begin("worker"))
        orphans = [row["id"] for row in plant.ask("select id from runs where owner = $1", owner)]
        await_takeover(plant, orphans, owner, began)
        workers[-1].await_ready()
    await_end(plant, workflow, 120)
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", "/two", count=kills * each)


def test_r03_a_worker_that_was_paused_past_its_lease_changes_nothing(grow: Grow) -> None:
    plant = grow("worker")
    sleeper = plant.processes[-1]
    workflow = five_nodes(plant, "/held")
    accepted = send(plant, workflow, range(5))
    until(lambda: len(plant.ledger.entries("/held")) == 5, what="effects under way")
    owner = plant.owner_of(sleeper)
    plant.start("worker")
    sleeper.signal(signal.SIGSTOP)
    await_takeover(plant, list(accepted.values()), owner, time.monotonic())
    plant.ledger.release()
    await_end(plant, workflow)
    sql = "select * from node_runs order by run_id, seq, node_id, final"
    before = plant.ask(sql)
    sleeper.signal(signal.SIGCONT)
    awake = "select 1 from workers where owner = $1 and until > now()"
    until(lambda: plant.ask(awake, owner), what="its renewal, which finds that nothing is its own")
    assert plant.ask(sql) == before, "a stale epoch writes nothing"
    check(plant, workflow, accepted.values())
    check_once(plant, "/held", "/two", count=5)


@pytest.mark.parametrize("name", ["worker", "actions", pytest.param("api", marks=pytest.mark.long)])
def test_r05_a_rolling_restart_under_load_fails_and_repeats_nothing(grow: Grow, name: str) -> None:
    plant = grow("worker")
    workflow = five_nodes(plant)
    accepted: dict[int, str] = {}
    old = next(process for process in plant.processes if process.name == name)
    for turn in range(3):
        accepted |= send(plant, workflow, range(turn * 80, turn * 80 + 80))
        new = plant.start(name)
        accepted |= send(plant, workflow, range(1000 + turn * 40, 1000 + turn * 40 + 40))
        began = time.monotonic()
        old.signal(signal.SIGTERM)
        accepted |= send(plant, workflow, range(2000 + turn * 40, 2000 + turn * 40 + 40))
        assert old.ended() == 0
        assert time.monotonic() - began < TAKEOVER_S, "drained within the grace period, however slow the machine"
        old = new
    await_end(plant, workflow)
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", "/two", count=len(accepted))


def test_r05_the_only_actions_process_restarts_under_load_and_fails_nothing(grow: Grow) -> None:
    """Workers await the new one; calls that the old one had in hand past its grace are made again, under their keys."""
    plant = grow("worker", B3OS_GRACE_S="0.2")
    old = plant.processes[1]
    workflow = five_nodes(plant, "/held")
    accepted = send(plant, workflow, range(20))
    until(lambda: len(plant.ledger.calls("/held")) == 20, what="effects under way")
    old.signal(signal.SIGTERM)
    assert old.ended() == 0
    accepted |= send(plant, workflow, range(20, 60))
    plant.begin("actions")
    until(lambda: len(plant.ledger.calls("/held")) == 60, what="the new process is asked")
    plant.ledger.release()
    await_end(plant, workflow)
    check(plant, workflow, accepted.values())
    assert max(plant.ledger.calls("/held").values()) <= 2
    check_once(plant, "/two", count=60)


@pytest.mark.long
def test_r12_an_orphan_behind_500_long_nodes_is_found(grow: Grow) -> None:
    plant = grow("worker")
    victim = plant.processes[-1]
    plant.ask("update organizations set run_window = 2000")
    workflow = publish(plant, {"one": effect(plant, "/held", maxRetries=5)}, "one")
    orphan = send(plant, workflow, [0])
    until(lambda: held_by(plant, victim), what="the run in the victim's hands")
    for process in [plant.begin("worker") for _ in range(3)]:
        process.await_ready()
    owner = plant.owner_of(victim)
    victim.signal(signal.SIGSTOP)  # it takes none of the 500, and holds its own until its lease ends
    others = send(plant, workflow, range(1, 501))
    victim.kill()
    await_takeover(plant, [*orphan.values()], owner, time.monotonic())
    until(lambda: len(plant.ledger.calls("/held")) == 501, 60, "all 501 under way at once")
    plant.ledger.release()
    await_end(plant, workflow)
    # A call gives up after 30 s, which a slow machine needs to start them all: it is made again.
    check(plant, workflow, [*orphan.values(), *others.values()], may_retry=True)
