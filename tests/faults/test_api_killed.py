"""The API is killed: R04 while it accepts, R29 while clients follow."""

import json
import threading
import time
import urllib.request

import pytest

from tests.faults.conftest import Grow
from tests.faults.plant import Plant
from tests.faults.verdict import await_end, check, check_once
from tests.faults.workload import five_nodes, log, publish, send

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("count", [150, pytest.param(500, marks=pytest.mark.long)])
def test_r04_the_api_dies_while_it_accepts_and_every_call_is_repeated(grow: Grow, count: int) -> None:
    plant = grow("worker")
    workflow = five_nodes(plant)
    accepted: dict[int, str] = {}
    sender = threading.Thread(target=lambda: accepted.update(send(plant, workflow, range(count))))
    sender.start()
    api = plant.processes[0]
    for share in (3, 2):
        has_some(plant, workflow, count // share)
        api.kill()
        api.ended()
        api = plant.start("api")
    sender.join(120)
    assert len(accepted) == count
    await_end(plant, workflow)
    check(plant, workflow, accepted.values())
    check_once(plant, "/one", "/two", count=count)
    assert send(plant, workflow, range(count)) == accepted, "the same key is answered by the same run"
    with pytest.raises(AssertionError, match="422000"):
        plant.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", {"n": -1}, {"idempotency-key": "n-0"})
    check(plant, workflow, accepted.values())


def has_some(plant: Plant, workflow: dict[str, object], count: int) -> None:
    sql = "select count(*) as n from runs where workflow_id = $1"
    while plant.ask(sql, workflow["id"])[0]["n"] < count:
        plant.pause(0.005)


@pytest.mark.parametrize("items", [300, pytest.param(4900, marks=pytest.mark.long)])
def test_r29_a_reader_that_is_dropped_again_and_again_misses_and_repeats_nothing(grow: Grow, items: int) -> None:
    plant = grow("worker")
    nodes = {str(n): log(str(n + 1)) for n in range(items)}
    nodes[str(items)] = {"type": "delay", "payload": {"delayMs": 1500}, "children": ["end"]}
    nodes["end"] = log()
    workflow = publish(plant, nodes, "0")
    run_id = send(plant, workflow, [0])[0]
    seen: list[tuple[int, str]] = []
    api, turn, deadline = plant.processes[0], 0, time.monotonic() + 120
    while not seen or seen[-1][1] != "run_completed":
        assert time.monotonic() < deadline, f"{len(seen)} events, the last {seen[-1:]}"
        turn += 1
        read_some(plant, run_id, seen, items // 5)
        if turn == 3:
            api.kill()
            api.ended()
            api = plant.start("api")
    ids = [number for number, _ in seen]
    assert ids[:-1] == list(range(1, len(ids))), "no gap and no duplicate; the last event's number is above all others"
    finished = [kind for _, kind in seen if kind == "node_completed"]
    assert len(finished) == items + 2
    check(plant, workflow, [run_id])


def read_some(plant: Plant, run_id: str, seen: list[tuple[int, str]], limit: int) -> None:
    """Follow a run after the last event seen, and hang up after `limit` events."""
    last = seen[-1][0] if seen else 0
    headers = {"authorization": f"Bearer {plant.key}", "last-event-id": str(last)}
    request = urllib.request.Request(f"{plant.url}/v1/runs/{run_id}/stream", headers=headers)
    number, taken = 0, 0
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            for line in response:
                if line.startswith(b"id: "):
                    number = int(line[4:])
                elif line.startswith(b"data: ") and number:
                    seen.append((number, json.loads(line[6:])["type"]))
                    number, taken = 0, taken + 1
                if taken >= limit:
                    return
    except (OSError, ValueError):
        return
