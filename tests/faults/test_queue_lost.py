"""The ops Redis forgets, dies or is full: R06, R07, R08, R22."""

import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from b3os.embedded.servers import EmbeddedServers
from b3os.queue.broker import Broker
from b3os.queue.task import Task
from tests.faults.conftest import Grow
from tests.faults.plant import Plant
from tests.faults.verdict import TAKEOVER_S, await_end, check, check_once
from tests.faults.workload import five_nodes, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(300)
LONG = pytest.mark.long
LANE = "asynq:{critical}:"


def test_r06_the_ops_redis_forgets_everything_under_load_again_and_again(grow: Grow) -> None:
    plant = grow("worker")
    workflow = five_nodes(plant)
    accepted: dict[int, str] = {}
    for turn in range(6):
        accepted |= send(plant, workflow, range(turn * 40, turn * 40 + 40))
        plant.redis.flushall()
    await_end(plant, workflow)
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", "/two", count=len(accepted))


@LONG
def test_r06_the_ops_redis_is_killed_and_stays_away(grow: Grow, tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path, wanted=("ops",))
    plant = grow("worker", ops_url=servers.start().redis_ops_url)
    try:
        workflow = five_nodes(plant)
        accepted = send(plant, workflow, range(60))
        os.kill(servers.pids()["ops"], signal.SIGKILL)
        accepted |= send(plant, workflow, range(100, 160))
        until(lambda: len(servers.dead()) == 1, what="its death")
        plant.pause(30.0)
        servers.restart("ops")
        accepted |= send(plant, workflow, range(200, 260))
        await_end(plant, workflow)
        check(plant, workflow, accepted.values())
        check_once(plant, "/one", "/two", count=len(accepted))
    finally:
        servers.stop()


@pytest.mark.parametrize("part", [pytest.param("pending", marks=LONG), pytest.param("t:*", marks=LONG), "everything"])
def test_r07_a_queued_run_whose_keys_are_gone_is_found(grow: Grow, part: str) -> None:
    plant = grow()
    workflow = five_nodes(plant)
    accepted = send(plant, workflow, range(5))
    until(lambda: plant.redis.llen(f"{LANE}pending") == 5, what="all in the queue: calls are answered before")
    forget(plant, part)
    plant.start("worker")
    await_end(plant, workflow, TAKEOVER_S)
    check(plant, workflow, accepted.values())


@pytest.mark.parametrize("part", [pytest.param("lease", marks=LONG), "active"])
def test_r07_a_taken_run_whose_keys_are_gone_is_found(grow: Grow, part: str) -> None:
    """Asynq's #1144: a task that is taken and has no lease stays active for ever."""
    plant = grow()
    workflow = five_nodes(plant)
    accepted = send(plant, workflow, range(5))
    until(lambda: plant.redis.llen(f"{LANE}pending") == 5, what="all in the queue: calls are answered before")
    assert len(take(plant, 5)) == 5
    forget(plant, part)
    plant.start("worker")
    await_end(plant, workflow, TAKEOVER_S)
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", "/two", count=5)


@LONG
def test_r08_an_id_that_is_known_while_its_task_is_in_no_line_does_not_stop_it(grow: Grow) -> None:
    plant = grow()
    workflow = five_nodes(plant)
    accepted = send(plant, workflow, range(5))
    until(lambda: plant.redis.llen(f"{LANE}pending") == 5, what="all in the queue: calls are answered before")
    forget(plant, "pending")
    assert all(plant.redis.exists(f"{LANE}t:{run_id}") for run_id in accepted.values()), "every id is known"
    plant.start("worker")
    await_end(plant, workflow, TAKEOVER_S)
    check(plant, workflow, accepted.values())


def test_r22_a_full_queue_says_so_and_drops_nothing(grow: Grow) -> None:
    plant = grow(B3OS_QUEUE_LIMIT="20")
    workflow = five_nodes(plant)
    accepted, refused = [], 0
    for _ in range(40):
        status, answer, retry_after = webhook(plant, workflow["triggerSecret"])
        if status == 200:
            accepted.append(answer["data"]["runId"])
        else:
            assert (status, answer["code"]) == (429, 429010)
            assert retry_after
            refused += 1
    assert len(accepted) >= 20
    assert refused
    with urllib.request.urlopen(plant.url + "/metrics", timeout=10) as answer:
        assert 'b3os_tasks_total{lane="critical",outcome="refused"}' in answer.read().decode()
    plant.start("worker")
    await_end(plant, workflow)
    check(plant, workflow, accepted)
    assert webhook(plant, workflow["triggerSecret"])[0] == 200, "there is room again"


def forget(plant: Plant, part: str) -> None:
    """Delete a part of what the queue knows."""
    if part == "everything":
        plant.redis.flushall()
    else:
        keys = list(plant.redis.scan_iter(LANE + part))
        assert keys, f"nothing at {LANE}{part}"
        plant.redis.delete(*keys)


def take(plant: Plant, count: int) -> list[Task]:
    """Take tasks as a worker does that then vanishes."""

    async def taken() -> list[Task]:
        broker = Broker(f"unix://{plant.servers['ops']}")
        try:
            return await broker.dequeue(count)
        finally:
            await broker.close()

    return plant.wait(taken())


def webhook(plant: Plant, secret: str) -> tuple[int, dict[str, object], str]:
    """Fire once; returns status, answer and Retry-After."""
    request = urllib.request.Request(f"{plant.url}/v1/webhooks/{secret}", b"{}", {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers.get("retry-after", "")
