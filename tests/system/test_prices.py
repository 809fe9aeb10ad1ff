"""A price crossing becomes a run, once, through lost sockets and lies: the whole house against the emulated oracle."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.house import House, house, until

PLAN = Path(__file__).parent.parent / "emulators/plans/reconnect.json"


@pytest.fixture(scope="module")
def oracle() -> Iterator[dict[str, str]]:
    """The emulator as one starts it by hand; gives the settings that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.stork", "--plan", str(PLAN)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield dict(part.split("=", 1) for part in process.stdout.readline().split())
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def running(oracle: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("prices") / "data", **oracle) as found:
        yield found


def watching(asset: str, target: object, **more: object) -> dict[str, object]:
    payload = {"asset": asset, "targetPrice": target, "operation": "cross-up", **more}
    return {
        "nodes": {
            "root": {"type": "token-price-cexes", "payload": payload, "children": ["say"]},
            "say": {"type": "log", "payload": {"message": "{{root.result.price}}"}, "children": []},
        }
    }


def test_each_crossing_reaches_one_run_through_reconnects(running: House) -> None:
    workflow = running.publish("crossing", watching("BTCUSD", 100))
    once = running.publish("once", watching("BTCUSD", "100", maxTriggers="1"))
    # The plan begins with the subscription to this asset, and ends with its crossing.
    last = running.publish("the plan's end", watching("ETHUSD", 150))
    until(lambda: running.runs(last["id"]), 60, "the last price of the plan")
    runs = [running.finished_run(run["id"]) for run in running.runs(workflow["id"])]
    assert [run["status"] for run in runs] == ["success", "success"]
    said = [[e for e in running.follow(run["id"]) if e["type"] == "node_completed"] for run in runs]
    assert sorted(events[0]["result"]["message"] for events in said) == [101, 103]
    assert len(running.runs(once["id"])) == 1
    assert running.call("GET", f"/v1/workflows/{once['id']}")["data"]["status"] == "paused"


def test_a_threshold_that_is_no_price_is_not_published(running: House) -> None:
    body = {"name": "no price", "definition": watching("BTCUSD", "1e40")}
    made = running.call("POST", "/v1/workflows", body)["data"]
    status, answer = running.raw("POST", f"/v1/workflows/{made['id']}/publish", None)
    assert status == 400
    assert "targetPrice" in str(answer)
