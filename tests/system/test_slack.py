"""A mention in Slack becomes a run, once, through a failing service: the whole house against the emulated workspace."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.slack import TOKEN
from tests.system.house import House, house, until

PLAN = Path(__file__).parent.parent / "emulators/plans/mentions.json"


@pytest.fixture(scope="module")
def workspace() -> Iterator[dict[str, str]]:
    """The emulator as one starts it by hand; gives the setting that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.slack", "--plan", str(PLAN)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    name, _, value = shlex.split(process.stdout.readline(), comments=True)[0].partition("=")
    assert json.loads(value)["slack"].startswith("http://127.0.0.1:")
    yield {name: value}
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def running(workspace: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("slack") / "data", **workspace) as found:
        yield found


def watching(connector: str) -> dict[str, object]:
    node = {"type": "slack-mentions", "payload": {"channelId": "C1"}, "children": ["say"]}
    return {
        "nodes": {
            "root": {**node, "connector": {"type": "slack", "id": connector}},
            "say": {"type": "log", "payload": {"message": "{{root.result.text}}"}, "children": []},
        }
    }


def test_each_mention_reaches_one_run(running: House) -> None:
    secret = {"name": "s", "type": "slack", "data": {"botToken": TOKEN}}
    connector = running.call("POST", "/v1/connectors", secret)["data"]["id"]
    workflow = running.publish("mentions", watching(connector))
    until(lambda: len(running.runs(workflow["id"])) == 3, 120, "the three mentions of the plan")
    runs = [running.finished_run(run["id"]) for run in running.runs(workflow["id"])]
    assert {run["status"] for run in runs} == {"success"}
    said = [[e for e in running.follow(run["id"]) if e["type"] == "node_completed"] for run in runs]
    assert sorted(events[0]["result"]["message"] for events in said) == [
        "<@UBOT> one", "<@UBOT> two", "and <@UBOT|bot> three",
    ]  # fmt: skip
    states = running.call("GET", "/v1/sources")["data"]["items"]
    (state,) = [one for one in states if one["id"].startswith("slack:")]
    assert state["lag"].endswith(" s")
    assert state["lastError"]  # the plan made it fail


def test_a_trigger_without_a_connector_is_not_published(running: House) -> None:
    definition = {"nodes": {"root": {"type": "slack-mentions", "payload": {"channelId": "C1"}, "children": []}}}
    made = running.call("POST", "/v1/workflows", {"name": "w", "definition": definition})["data"]
    status, answer = running.raw("POST", f"/v1/workflows/{made['id']}/publish", None)
    assert status == 400
    assert "connector of type slack" in str(answer)
