"""Every kind of built-in in a whole B3OS: state, JavaScript, database, webhook, child workflow."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.emulators.receiver import Receiver
from tests.system.house import House, free_port, house, until


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture
async def receiver(port: int) -> AsyncIterator[Receiver]:
    receiver = await Receiver().start(port)
    yield receiver
    await receiver.stop()


@pytest.fixture(scope="module")
def running(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("builtins") / "data", B3OS_EGRESS_ALLOW=f"127.0.0.1:{port}") as found:
        yield found


def chain(*nodes: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"root": {"type": "webhook", "payload": {}, "children": [nodes[0][0]]}}
    for (name, kind, payload), follower in zip(nodes, [*[node[0] for node in nodes[1:]], ""], strict=True):
        found[name] = {"type": kind, "payload": payload, "children": [follower] if follower else []}
    return found


def fire(running: House, workflow: dict[str, Any], body: Any) -> dict[str, Any]:
    run_id = running.call("POST", f"/v1/webhooks/{workflow['triggerSecret']}", body)["data"]["runId"]
    return running.finished_run(run_id)


def results(run: dict[str, Any]) -> dict[str, Any]:
    assert run["status"] == "success", run["executionState"]
    return {name: node["result"] for name, node in run["executionState"].items()}


def test_state_code_and_database(running: House) -> None:
    database = f"/v1/organizations/{running.org_id}/database"
    made = running.call("POST", f"{database}/query", {"sql": "create table prices (asset text, price real)"})["data"]
    assert made["rows"] == []
    assert running.call("GET", f"{database}/tables")["data"] == {"tables": [{"name": "prices"}]}
    code = "function transform(input) { return {doubled: input.rows.map(row => row.price * 2), count: input.count} }"
    nodes = chain(
        ("count", "set-variable", {"name": "count", "value": "{{root.result.body.count}}"}),
        ("put", "org-storage-set", {"key": "last", "value": {"count": "{{$vars.count}}"}}),
        ("got", "org-storage-get", {"key": "last"}),
        (
            "add",
            "db-query",
            {"sql": "insert into prices values (?, ?)", "params": ["BTC", "{{root.result.body.price}}"]},
        ),
        ("all", "db-query", {"query": "select price from prices where asset = $1", "params": ["BTC"]}),
        (
            "code",
            "code-transform",
            {"code": code, "input": {"rows": "{{all.result.rows}}", "count": "{{$vars.count}}"}},
        ),
    )
    defs = [{"name": "count", "type": "number", "lifetime": "persist", "default": 0}]
    workflow = running.publish("state", {"nodes": nodes, "variableDefs": defs})
    first = results(fire(running, workflow, {"count": 1, "price": 1.5}))
    assert first["got"]["value"] == {"count": 1}
    assert first["code"]["output"] == {"doubled": [3], "count": 1}
    second = results(fire(running, workflow, {"count": 2, "price": 2}))
    assert second["count"] == {"name": "count", "value": 2, "previous": 1}, "a persistent variable lives on"
    assert second["code"]["output"] == {"doubled": [3, 4], "count": 2}


async def test_a_webhook_and_a_child_workflow(running: House, receiver: Receiver) -> None:
    def parts() -> tuple[dict[str, Any], str]:
        child = running.publish("child", {"nodes": chain(("say", "log", {"message": "hi {{$inputs.name}}"}))})
        send = {"url": f"http://{receiver.host}/hook", "headers": {"X-Api-Key": "canary"}, "body": {"n": 1}}
        nodes = chain(
            ("send", "send-webhook", send),
            ("start", "trigger-workflow", {"workflowId": child["id"], "payload": {"name": "x"}}),
        )
        run = fire(running, running.publish("parent", {"nodes": nodes}), {})
        started = results(run)["start"]
        assert results(running.finished_run(started["runId"]))["say"]["message"] == "hi x"
        assert run["executionState"]["send"]["input"]["headers"] == {"X-Api-Key": "••••"}
        return run, results(run)["send"]["deliveryId"]

    run, delivery_id = await asyncio.to_thread(parts)
    (got,) = await receiver.until(1)
    assert got.headers["x-api-key"] == "canary"
    assert len(got.headers["x-b3os-signature"]) == len(hmac.new(b"", b"", hashlib.sha256).hexdigest())

    def log() -> None:
        path = "/v1/outbound-webhook/deliveries"
        shown = until(lambda: (d := running.call("GET", f"{path}/{delivery_id}")["data"])["status"] == "success" and d)
        assert (shown["runId"], shown["requestBody"], shown["responseStatus"]) == (run["id"], {"n": 1}, 200)
        assert shown["requestHeaders"]["x-api-key"] == "••••"
        again = running.call("POST", f"/v1/execution-webhooks/deliveries/{delivery_id}/replay")["data"]
        assert (again["status"], again["replayOf"]) == ("pending", delivery_id)
        assert [d["id"] for d in running.call("GET", f"{path}?status=success,pending")["data"]["items"]][
            -1
        ] == delivery_id

    await asyncio.to_thread(log)
    assert [one.body for one in await receiver.until(2)] == [b'{"n":1}'] * 2
