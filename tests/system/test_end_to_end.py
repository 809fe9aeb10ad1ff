"""From an empty folder to runs on a webhook, a cron slot and a Transfer log, followed over SSE."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.system.house import House, house, until

pytestmark = pytest.mark.timeout(300)


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"price": 42}')

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, site: str) -> Iterator[House]:
    allowed = site.split("/")[2]
    with house(tmp_path_factory.mktemp("system") / "data", B3OS_EGRESS_ALLOW=allowed) as found:
        yield found


def two_nodes(trigger: str, payload: dict[str, Any], message: str) -> dict[str, Any]:
    return {
        "nodes": {
            "root": {"type": trigger, "payload": payload, "children": ["check"]},
            "check": {
                "type": "if",
                "payload": {"condition": {"$and": [{"{{$trigger.triggeredAt}}": {"$exists": True}}]}},
                "children": ["yes", "no"],
            },
            "yes": {"type": "log", "payload": {"message": message}, "children": [], "branch": "then"},
            "no": {"type": "log", "payload": {"message": "never"}, "children": [], "branch": "else"},
        }
    }


def test_webhook_becomes_a_run_with_its_events_in_order_and_once(running: House) -> None:
    workflow = running.publish("hook", two_nodes("webhook", {}, "hello {{$trigger.body.name}}"))
    answer = running.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", {"name": "Ada"})
    run_id = answer["data"]["runId"]
    events = running.follow(run_id)
    run = running.finished_run(run_id)
    assert run["status"] == "success"
    assert run["executionState"]["yes"]["result"]["message"] == "hello Ada"
    assert run["executionState"]["no"]["status"] == "skipped"
    assert events[0]["type"] == "run_started"
    assert events[-1]["type"] == "run_completed"
    told = [(e["type"], e.get("nodeId")) for e in events]
    assert len(told) == len(set(told))
    assert ("node_completed", "yes") in told


def test_cron_slot_becomes_one_run_each(running: House) -> None:
    rule = {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=SECONDLY;INTERVAL=1"}
    workflow = running.publish("cron", two_nodes("cronjob", rule, "slot {{$trigger.triggeredAt}}"))
    until(lambda: len(running.runs(workflow["id"])) >= 2, what="two cron runs")
    running.call("POST", f"/v1/workflows/{workflow['id']}/pause")
    ran = [running.finished_run(run["id"]) for run in running.runs(workflow["id"])]
    assert {run["status"] for run in ran} == {"success"}
    slots = [run["executionState"]["yes"]["result"]["message"] for run in ran]
    assert len(set(slots)) == len(slots)


def test_action_answers_and_a_private_address_is_refused(running: House, site: str) -> None:
    def ask(url: str) -> dict[str, object]:
        return {
            "nodes": {
                "root": {"type": "manual", "payload": {}, "children": ["ask"]},
                "ask": {"type": "http-request", "payload": {"url": url}, "children": ["say"]},
                "say": {"type": "log", "payload": {"message": "{{ask.result.json.price}}"}, "children": []},
            }
        }

    def run(url: str) -> dict[str, Any]:
        workflow = running.publish("ask", ask(url))
        return running.finished_run(running.call("POST", f"/v1/workflows/{workflow['id']}/run")["data"]["runId"])

    answered = run(site)
    assert answered["status"] == "success", answered["executionState"]
    assert answered["executionState"]["say"]["result"]["message"] == 42
    refused = run("http://169.254.169.254/latest/meta-data")
    assert refused["status"] == "failure"
    error = refused["executionState"]["ask"]["result"]["error"]
    assert error["category"] == "network"
    assert error["remediation"]


@pytest.mark.parametrize("service", ["worker", "master", "actions", "api"])
def test_killing_a_process_loses_no_accepted_trigger_and_duplicates_no_run(running: House, service: str) -> None:
    workflow = running.publish(f"kill-{service}", two_nodes("webhook", {}, "n {{$trigger.body.n}}"))
    accepted = []
    for n in range(200):
        # A sender repeats what was not acknowledged, with the same key: the receipt makes it one run.
        accepted.append(until(lambda n=n: send(running, workflow["triggerSecret"], n), what="an accepted webhook"))
        if n == 60:
            os.kill(running.child(service), signal.SIGKILL)
    for run_id in accepted:
        assert running.finished_run(run_id)["status"] == "success"
    assert len(set(accepted)) == 200
    stored = [run["id"] for offset in (0, 100, 200) for run in running.runs(workflow["id"], offset)]
    assert sorted(stored) == sorted(accepted)


def send(running: House, secret: str, n: int) -> str | None:
    with contextlib.suppress(AssertionError, OSError):
        answer = running.call("POST", f"/v1/webhooks/{secret}", {"n": n}, {"idempotency-key": f"n-{n}"})
        return str(answer["data"]["runId"])
    return None


def test_wait_is_answered_once_and_delay_wakes(running: House) -> None:
    definition = {
        "nodes": {
            "root": {"type": "manual", "payload": {}, "children": ["nap"]},
            "nap": {"type": "delay", "payload": {"delayMs": 300}, "children": ["ask"]},
            "ask": {"type": "wait", "payload": {"timeoutMs": 60000}, "children": ["ok", "late"]},
            "ok": {
                "type": "log",
                "payload": {"message": "{{ask.result.data.by}}"},
                "children": [],
                "branch": "resumed",
            },
            "late": {"type": "log", "payload": {"message": "late"}, "children": [], "branch": "timed_out"},
        }
    }
    workflow = running.publish("approval", definition)
    run_id = running.call("POST", f"/v1/workflows/{workflow['id']}/run", {"payload": {}})["data"]["runId"]
    path = f"/v1/runs/{run_id}/nodes/ask/resume?secret={workflow['triggerSecret']}"
    until(lambda: running.call("POST", path, {"data": {"by": "Ada"}})["data"]["action"] == "resumed")
    assert running.call("POST", path, {"data": {"by": "Eve"}})["data"]["action"] == "skipped"
    run = running.finished_run(run_id)
    assert run["status"] == "success"
    assert run["executionState"]["ok"]["result"]["message"] == "Ada"
    assert run["executionState"]["late"]["status"] == "skipped"
    told = [(e["type"], e.get("nodeId")) for e in running.follow(run_id)]
    assert told[0] == ("run_started", None)
    assert told[-1] == ("run_completed", None)
    assert [e for e in told if e[1] == "ask"] == [("node_waiting", "ask"), ("node_completed", "ask")]


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/v1/workflows", b"{nope", 400000),
        ("POST", "/v1/workflows", b"[]", 400000),
        ("POST", "/v1/workflows", b'{"name": 5, "definition": {"nodes": {}}}', 400410),
        ("POST", "/v1/workflows", b'{"name": "x", "definition": {"nodes": 1}}', 400228),
        ("POST", "/v1/workflows", b"x" * (1024 * 1024 + 1), 413000),
        ("GET", "/v1/workflows/wf_missing", None, 404000),
        ("GET", "/v1/runs/run_missing", None, 404000),
        ("POST", "/v1/webhooks/nobody", b"{}", 404000),
        ("GET", "/v1/nowhere", None, 404000),
        ("GET", "/v1/runs?limit=many", None, 400411),
    ],
)
def test_bad_input_gets_the_envelope_with_a_stable_code(
    running: House, method: str, path: str, body: bytes | None, code: int
) -> None:
    status, answer = running.raw(method, path, body)
    assert (status, answer["code"]) == (code // 1000, code)
    assert answer["message"]
    assert answer["requestId"]


def test_another_organization_sees_nothing(running: House) -> None:
    workflow = running.publish("mine", two_nodes("webhook", {}, "x"))
    mine = running.key
    try:
        running.key = ""
        running.key = running.call("POST", "/v1/bootstrap")["data"]["apiKey"]
        assert running.raw("GET", f"/v1/workflows/{workflow['id']}", None)[0] == 404
        assert running.raw("POST", f"/v1/workflows/{workflow['id']}/publish", b"")[0] == 404
        assert running.call("GET", "/v1/workflows")["data"]["items"] == []
    finally:
        running.key = mine


def test_invalid_definition_is_not_published_and_says_why(running: House) -> None:
    definition = two_nodes("webhook", {}, "{{later.result.x}}")
    made = running.call("POST", "/v1/workflows", {"name": "bad", "definition": definition, "status": "active"})["data"]
    assert made["status"] == "draft"
    status, answer = running.raw("POST", f"/v1/workflows/{made['id']}/publish", b"")
    assert (status, answer["code"]) == (400, 400228)
    assert answer["details"][0]["code"] == "reference_unknown"


def test_data_survives_a_restart_and_stop_is_quick(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with house(data) as first:
        workflow = first.publish("kept", two_nodes("webhook", {}, "kept"))
        key = first.key
        assert first.stop() < 5
    again = House(data)
    again.key = key
    try:
        again.await_ready()
        assert again.call("GET", f"/v1/workflows/{workflow['id']}")["data"]["name"] == "kept"
    finally:
        again.stop()


def test_kill_nine_of_the_supervisor_leaves_nothing(tmp_path: Path) -> None:
    with house(tmp_path / "data") as found:
        children = found.children()
        found.process.kill()
        found.process.wait()
        until(lambda: not any(alive(pid) for pid in children), 10, "every child gone")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
