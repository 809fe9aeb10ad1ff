"""Mail becomes runs, once each, through an expired history: the whole house against the emulated mailbox."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.gmail import ACCOUNT
from tests.system.house import House, house, until

PLAN = Path(__file__).parent.parent / "emulators/plans/mailbox.json"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[dict[str, str]]:
    """The emulator as one starts it by hand; gives the settings that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.gmail", "--plan", str(PLAN)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield dict(part.split("=", 1) for part in shlex.split(process.stdout.readline(), comments=True))
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def running(mailbox: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("gmail") / "data", **mailbox) as found:
        yield found


def test_each_mail_reaches_one_run(running: House) -> None:
    secret = {"name": "m", "type": "gmail", "data": {"accountId": ACCOUNT}}
    connector = {"type": "gmail", "id": running.call("POST", "/v1/connectors", secret)["data"]["id"]}

    def watching(kind: str, **payload: object) -> dict[str, object]:
        return {
            "nodes": {
                "root": {"type": kind, "payload": payload, "connector": connector, "children": ["say"]},
                "say": {"type": "log", "payload": {"message": "{{root.result.subject}}"}, "children": []},
            }
        }

    workflow = running.publish("mail", watching("gmail-new-email-received"))
    searching = running.publish("search", watching("gmail-new-email-matching-search", q="from:bank"))
    until(lambda: len(running.runs(workflow["id"])) == 3, 90, "the three mails of the plan")
    until(lambda: running.runs(searching["id"]), 60, "the mail that the search finds")
    runs = [running.finished_run(run["id"]) for run in running.runs(workflow["id"])]
    assert {run["status"] for run in runs} == {"success"}
    said = [[e for e in running.follow(run["id"]) if e["type"] == "node_completed"] for run in runs]
    assert sorted(events[0]["result"]["message"] for events in said) == ["invoice 3", "one", "two"]
    assert len(running.runs(searching["id"])) == 1
    (state,) = [one for one in running.call("GET", "/v1/sources")["data"]["items"] if one["id"].startswith("gmail:")]
    assert state["lag"].endswith(" s")
    assert "502" in state["lastError"]  # the plan made it fail
