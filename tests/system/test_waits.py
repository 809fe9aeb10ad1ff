"""Parallel branches that wait: whoever completes a node, a live reader sees every event once and in order."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.house import House, house, until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("waits") / "data") as found:
        yield found


def frames(running: House, run_id: str, last_id: int = 0) -> list[tuple[int, dict[str, Any]]]:
    """Read a run's stream to its end; returns ids and events, a passing event with the id 0."""
    headers = {"authorization": f"Bearer {running.key}", "last-event-id": str(last_id)}
    request = urllib.request.Request(f"{running.url}/v1/runs/{run_id}/stream", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        parts = response.read().decode().split("\n\n")
    found = []
    for part in parts:
        lines = dict(line.split(": ", 1) for line in part.split("\n") if ": " in line and not line.startswith(":"))
        if lines:
            found.append((int(lines.get("id", 0)), json.loads(lines["data"])))
    return found


def test_a_live_reader_of_waiting_branches_misses_nothing(running: House) -> None:
    nodes: dict[str, Any] = {
        "root": {"type": "webhook", "payload": {}, "children": ["w1", "w2", "d1", "a"]},
        "w1": {"type": "wait", "payload": {"timeoutMs": 60_000}, "children": ["n1"]},
        "w2": {"type": "wait", "payload": {"timeoutMs": 60_000}, "children": ["n2"]},
        "d1": {"type": "delay", "payload": {"delayMs": 300}, "children": ["n3"]},
        "a": {"type": "log", "payload": {"message": "a"}, "children": ["b"]},
        "b": {"type": "log", "payload": {"message": "b"}, "children": []},
    }
    for number in (1, 2, 3):
        nodes[f"n{number}"] = {"type": "log", "payload": {"message": str(number)}, "children": []}
    for after_a_wait in ("n1", "n2"):
        nodes[after_a_wait]["branch"] = "resumed"
    workflow = running.publish("waits", {"nodes": nodes})
    secret = workflow["triggerSecret"]
    for _ in range(5):
        run_id = running.call("POST", f"/v1/webhooks/{secret}", {})["data"]["runId"]
        live: list[tuple[int, dict[str, Any]]] = []
        reader = threading.Thread(target=lambda: live.extend(frames(running, run_id)))  # noqa: B023 - joined below
        reader.start()
        for node in ("w2", "w1"):
            path = f"/v1/runs/{run_id}/nodes/{node}/resume?secret={secret}"
            until(lambda: running.call("POST", path, {"data": {}})["data"]["action"] == "resumed")  # noqa: B023
        assert running.finished_run(run_id)["status"] == "success"
        reader.join(30)
        passing = [event["type"] for number, event in live if not number]
        assert {"run_waiting", "run_resumed"} <= set(passing)
        live = [frame for frame in live if frame[0]]
        ids = [number for number, _ in live]
        assert ids == sorted(set(ids))
        told = [(event["type"], event.get("nodeId")) for _, event in live]
        assert told[0] == ("run_started", None)
        assert told[-1] == ("run_completed", None)
        assert len(told) == len(set(told)), "each once"
        finished = {node for kind, node in told if kind == "node_completed"}
        assert finished == set(nodes) - {"root"}
        assert {node for kind, node in told if kind == "node_waiting"} == {"w1", "w2", "d1"}
        assert frames(running, run_id) == live, "a late reader is told the same"
        middle = ids[len(ids) // 2]
        rest = [frame for frame in frames(running, run_id, middle) if frame[0]]
        assert rest == [frame for frame in live if frame[0] > middle]
