"""The watchdog and connectors on a whole installation."""

import asyncio
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulators.services import SLACK_TOKEN, Services
from tests.system.house import House, free_port, house, until


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    loop, found = asyncio.new_event_loop(), Services()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(found.start(), loop).result(10)
    yield found
    asyncio.run_coroutine_threadsafe(found.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def running(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    urls = f'{{"slack":"{services.url}/slack","coingecko":"{services.url}/gecko"}}'
    port = free_port()
    with house(
        tmp_path_factory.mktemp("watch") / "data", B3OS_PROVIDER_URLS=urls, B3OS_METRICS_PORT=str(port)
    ) as found:  # fmt: skip
        found.metrics_port = port
        yield found


def state(running: House, check_id: str) -> dict[str, Any]:
    status, answer = running.raw("GET", f"/v1/health/checks/{check_id}", None)
    return dict(answer["data"]) if status == 200 else {}


def test_every_component_and_action_is_listed(running: House) -> None:
    def components() -> Any:
        found = running.call("GET", "/v1/health/checks?kind=component")["data"]
        return found if found["counts"].get("healthy") == 7 else None

    found = until(components, what="seven healthy components")
    assert {item["id"].split(":")[1] for item in found["items"]} == {
        "postgres", "redis-ops", "redis-data", "api", "actions", "master", "worker",
    }  # fmt: skip
    waived = until(lambda: state(running, "action:slack-send-message"), 60, "a waived check")
    probed = until(lambda: state(running, "action:coingecko-get-token-price"), 60, "a probe")
    assert probed["status"] in ("healthy", "degraded")
    assert (waived["status"], waived["waived"]) == ("waived", "needs a workspace's own token")
    assert running.raw("GET", "/v1/health/checks/nothing", None)[0] == 404


def test_a_dead_server_is_seen_and_seen_to_recover(running: House) -> None:
    before = state(running, "component:actions")
    assert before["status"] == "healthy"
    pid = running.child("actions")
    os.kill(pid, signal.SIGSTOP)
    try:
        ill = until(lambda: (s := state(running, "component:actions"))["status"] != "healthy" and s, 60, "illness")
        assert ill["lastError"]
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: state(running, "component:actions")["status"] == "healthy", 60, "recovery")


def test_a_connector_shows_its_mask_and_nothing_else(running: House) -> None:
    body = {"name": "ours", "type": "slack", "data": {"botToken": SLACK_TOKEN}, "organizationId": "org_other"}
    made = running.call("POST", "/v1/connectors", body)["data"]
    assert made["maskedData"] == {"botToken": "••••1111"}
    assert (made["provider"], made["organizationId"]) == ("slack", running.org_id)
    listed = running.call("GET", "/v1/connectors?type=slack")["data"]["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    renamed = running.call("PUT", f"/v1/connectors/{made['id']}", {"name": "theirs", "type": "discord"})["data"]
    assert (renamed["name"], renamed["type"]) == ("theirs", "slack")
    shown = str([made, listed, renamed, running.log.read_text()])
    assert SLACK_TOKEN not in shown
    mine = running.key
    try:
        running.key = ""
        running.key = running.call("POST", "/v1/bootstrap")["data"]["apiKey"]
        assert running.raw("GET", f"/v1/connectors/{made['id']}", None)[0] == 404
        assert running.raw("DELETE", f"/v1/connectors/{made['id']}", None)[0] == 404
    finally:
        running.key = mine
    running.call("DELETE", f"/v1/connectors/{made['id']}")
    assert running.raw("GET", f"/v1/connectors/{made['id']}", None)[0] == 404


def test_a_node_acts_with_its_connectors_secret(running: House, services: Services) -> None:
    secret = {"name": "ours", "type": "slack", "data": {"botToken": SLACK_TOKEN}}
    connector = running.call("POST", "/v1/connectors", secret)["data"]
    say = {
        "type": "slack-send-message",
        "payload": {"conversation": "C1", "text": "{{$trigger.body.text}}"},
        "connector": {"type": "slack", "id": connector["id"]},
        "children": [],
    }
    root = {"type": "webhook", "payload": {}, "children": ["say"]}
    workflow = running.publish("tell", {"nodes": {"root": root, "say": say}})
    fired = running.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", {"text": "paid"})["data"]
    assert running.finished_run(fired["runId"])["status"] == "success"
    sent = [request for request in services.requests if request["path"] == "/slack/chat.postMessage"]
    assert [request["body"]["text"] for request in sent] == ["paid"]
    assert sent[0]["headers"]["authorization"] == f"Bearer {SLACK_TOKEN}"
    shown = str(running.follow(fired["runId"])) + str(running.call("GET", f"/v1/runs/{fired['runId']}"))
    assert SLACK_TOKEN not in shown + running.log.read_text()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"type":"slack","data":{"botToken":"xoxb-secret-value"}}', 400410),
        (b'{"name":"x","type":"myspace","data":{}}', 400340),
        (b'{"name":"x","type":"slack","data":{"botToken":5}}', 400341),
        (b'{"name":"x","type":"slack","data":{}}', 400341),
        (b'{"name":"x","type":"telegram-bot","data":{"botToken":"xoxb-secret-value"}}', 400341),
    ],
)
def test_a_wrong_connector_is_refused_without_its_value(running: House, body: bytes, code: int) -> None:
    status, answer = running.raw("POST", "/v1/connectors", body)
    assert (status, answer["code"]) == (400, code)
    assert "xoxb-secret-value" not in answer["message"]


def test_connector_types_are_public(running: House) -> None:
    mine, running.key = running.key, ""
    try:
        types = running.call("GET", "/v1/connector-types")["data"]
        assert {one["type"] for one in types} == {
            "slack", "telegram-bot", "discord", "coingecko", "webhook-secret", "gmail",
        }  # fmt: skip
        assert running.call("GET", "/v1/connector-types/slack")["data"]["dataSchema"]["required"] == ["botToken"]
    finally:
        running.key = mine


def test_every_process_shows_its_metrics(running: House) -> None:
    # The API is the first of the plan and has its own route; the others count up from the port.
    for offset, text in ((1, "b3os_tick_seconds_count"), (2, "b3os_commits_total"), (4, "b3os_health{")):
        with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port + offset}/metrics", timeout=10) as answer:
            assert text in answer.read().decode()
