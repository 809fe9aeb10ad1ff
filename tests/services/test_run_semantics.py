"""Retries, deadlines, parallel branches, retry from a node and why: API and worker in one loop on real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from b3os.run.builtins.pure import PURE
from b3os.settings import Settings
from b3os.store.pool import open_pool
from services.api.app import Api
from services.api.house import House
from services.worker.app import Worker
from tests.emulators.actions import Actions, actions
from tests.services.client import Client
from tests.services.conftest import MASTER_KEY

FINAL = ("success", "failure", "cancelled")


class Engine:
    """The API, a worker and an actions process that does as it is told."""

    def __init__(self, client: Client, told: Actions) -> None:
        self.client, self.actions = client, told

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.client.call(method, path, self.client.keys["mine"], body)
        assert status == 200, answer
        return answer["data"]

    async def make(self, nodes: dict[str, Any], **more: Any) -> str:
        definition = {"nodes": nodes, **more}
        return str((await self.call("POST", "/v1/workflows", {"name": "w", "definition": definition}))["id"])

    async def start(self, nodes: dict[str, Any], payload: Any = None, **more: Any) -> str:
        workflow = await self.make(nodes, **more)
        return str((await self.call("POST", f"/v1/workflows/{workflow}/run", {"payload": payload}))["runId"])

    async def run(self, run_id: str) -> dict[str, Any]:
        return dict(await self.call("GET", f"/v1/runs/{run_id}"))

    async def until(self, run_id: str, holds: Callable[[dict[str, Any]], Any], limit_s: float = 30) -> dict[str, Any]:
        async with asyncio.timeout(limit_s):
            while not holds(run := await self.run(run_id)):
                await asyncio.sleep(0.02)
            return run

    async def ended(self, run_id: str) -> dict[str, Any]:
        return await self.until(run_id, lambda run: run["status"] in FINAL)

    async def why(self, run_id: str) -> dict[str, Any]:
        return dict(await self.call("GET", f"/v1/runs/{run_id}/why"))


@pytest.fixture
async def engine(pg_url: str, redis_url: str) -> AsyncIterator[Engine]:
    async with actions() as told:
        settings = Settings(
            database_url=pg_url, redis_ops_url=redis_url, redis_data_url=redis_url, master_key=MASTER_KEY,
            internal_key="k", actions_url=told.url,
        )  # fmt: skip
        stop = asyncio.Event()
        house = House(await open_pool(pg_url, max_size=4), settings, stop)
        client = Client(Api(house))
        client.keys["mine"] = (await client.call("POST", "/v1/bootstrap"))[1]["data"]["apiKey"]
        pool = await open_pool(pg_url, max_size=4)
        worker = asyncio.create_task(Worker(pool=pool, settings=settings, stop=stop).serve())
        yield Engine(client, told)
        for event in told.held.values():
            event.set()
        stop.set()
        await worker
        await pool.close()
        await house.close()


def act(*children: str, **more: Any) -> dict[str, Any]:
    return {"type": "http-request", "payload": {"url": "{{$trigger.body.url}}"}, "children": list(children), **more}


def root(*children: str) -> dict[str, Any]:
    return {"type": "manual", "payload": {}, "children": list(children)}


def states(run: dict[str, Any]) -> dict[str, str]:
    return {name: node["status"] for name, node in run["executionState"].items() if name != "root"}


async def test_retryable_failure_is_tried_again_under_the_same_key(engine: Engine) -> None:
    engine.actions.fails("a", retryable=True, times=2)
    run_id = await engine.start({"root": root("a"), "a": act(maxRetries=3)})
    waiting = await engine.until(run_id, lambda run: run["executionState"]["a"]["status"] == "scheduled")
    assert waiting["executionState"]["a"]["result"]["error"]["message"] == "down"
    run = await engine.ended(run_id)
    assert (run["status"], run["executionState"]["a"]["attempt"]) == ("success", 3)
    assert len({key for _, _, key in engine.actions.seen}) == 1
    assert engine.actions.called("a") == 3


async def test_call_beyond_its_deadline_is_given_up(engine: Engine) -> None:
    engine.actions.hold("a")
    nodes = {"root": root("a"), "a": act("h", onError="branch", timeoutMs=100), "h": act(branch="error")}
    run = await engine.ended(await engine.start(nodes))
    assert states(run) == {"a": "failure", "h": "success"}
    assert run["executionState"]["a"]["result"]["error"]["code"] == "400352"


async def test_run_beyond_its_deadline_fails_with_what_is_open(engine: Engine) -> None:
    nodes = {"root": root("d"), "d": {"type": "delay", "payload": {"delayMs": 600_000}}}
    run = await engine.ended(await engine.start(nodes, timeoutMs=1000))
    assert states(run) == {"d": "failure"}
    assert run["executionState"]["d"]["result"]["error"]["code"] == "400351"


async def test_branch_goes_on_while_another_one_calls(engine: Engine) -> None:
    held = engine.actions.hold("slow")
    nodes = {
        "root": root("slow", "w"), "slow": act(),
        "w": {"type": "wait", "payload": {"timeoutMs": 60_000}, "children": ["then"]},
        "then": {"type": "log", "payload": {"message": "{{w.result.data.n}}"}, "branch": "resumed"},
    }  # fmt: skip
    run_id = await engine.start(nodes)
    await engine.actions.until_called("slow")
    answer = await engine.call("POST", f"/v1/runs/{run_id}/nodes/w/resume", {"data": {"n": 4}})
    assert answer["action"] == "resumed"
    run = await engine.until(run_id, lambda run: states(run)["then"] == "success")
    assert states(run) == {"slow": "running", "w": "success", "then": "success"}
    held.set()
    assert (await engine.ended(run_id))["status"] == "success"


async def test_failing_run_keeps_what_its_calls_did(engine: Engine) -> None:
    held = engine.actions.hold("slow")
    engine.actions.fails("bad")
    run_id = await engine.start({"root": root("slow", "bad"), "slow": act(), "bad": act("end"), "end": act()})
    await engine.until(run_id, lambda run: states(run)["bad"] == "failure")
    assert (await engine.why(run_id))["reason"] == "failing"
    held.set()
    run = await engine.ended(run_id)
    assert (run["status"], states(run)) == ("failure", {"slow": "success", "bad": "failure", "end": "pending"})
    again = (await engine.call("POST", f"/v1/runs/{run_id}/retry"))["runId"]
    assert states(await engine.ended(again)) == {"slow": "success", "bad": "success", "end": "success"}
    assert engine.actions.called("slow") == 1


async def test_definition_that_cannot_run_ends_its_run_by_name(engine: Engine) -> None:
    run = await engine.ended(await engine.start({"root": root("a"), "a": act("b"), "b": act("a")}))
    assert run["status"] == "failure"
    found = await engine.why(run["id"])
    assert (found["reason"], found["nodeId"], "cycle" in found["message"]) == ("failed", "root", True)
    assert run["executionState"]["root"]["status"] == "failure"


async def test_fault_of_the_engine_ends_its_run_and_no_other(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_payload: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setitem(PURE, "pluck", broken)
    run_id = await engine.start({"root": root("p"), "p": {"type": "pluck", "payload": {}}})
    run = await engine.ended(run_id)
    assert (run["status"], run["executionState"]["root"]["result"]["error"]["code"]) == ("failure", "500000")
    assert (await engine.ended(await engine.start({"root": root("a"), "a": act()})))["status"] == "success"


async def test_why_follows_a_run_from_its_call_to_its_end(engine: Engine) -> None:
    held = engine.actions.hold("a")
    nodes = {
        "root": root("a"), "a": act("w"),
        "w": {"type": "wait", "payload": {"timeoutMs": 60_000}, "children": ["d"]},
        "d": {"type": "delay", "payload": {"delayMs": 60_000}, "branch": "resumed"},
    }  # fmt: skip
    run_id = await engine.start(nodes)
    await engine.actions.until_called("a")
    found = await engine.why(run_id)
    assert (found["reason"], found["nodeId"]) == ("action_in_flight", "a")
    held.set()
    await engine.until(run_id, lambda run: run["status"] == "waiting")
    found = await engine.why(run_id)
    assert (found["reason"], found["nodeId"], found["until"] > found["since"]) == ("waiting_for_callback", "w", True)
    await engine.call("POST", f"/v1/runs/{run_id}/nodes/w/resume", {"data": {}})
    await engine.until(run_id, lambda run: run["executionState"]["d"]["status"] == "waiting")
    await engine.until(run_id, lambda run: run["status"] == "waiting")
    assert (await engine.why(run_id))["reason"] == "waiting_for_timer"
    await engine.call("POST", f"/v1/runs/{run_id}/cancel")
    assert (await engine.why(run_id))["reason"] == "cancelled"
    assert states(await engine.run(run_id))["d"] == "cancelled"


LOOP: dict[str, Any] = {
    "root": root("before"),
    "before": act("loop"),
    "loop": {"type": "for-each", "payload": {"array": "{{$trigger.body.list}}"}, "children": ["after"],
             "loopBody": ["in"]},
    "in": {**act(), "payload": {"url": "{{$item}}"}},
    "after": act(),
}  # fmt: skip


async def test_retry_from_a_node_in_a_loop_with_edited_input(engine: Engine) -> None:
    first = await engine.ended(await engine.start(LOOP, {"list": ["x", "y", "z"]}))
    assert first["status"] == "success"
    engine.actions.seen.clear()
    body = {"fromNodeId": "in", "path": "loop:1", "input": {"url": "mine"}}
    made = await engine.call("POST", f"/v1/runs/{first['id']}/retry", body)
    run = await engine.ended(made["runId"])
    assert (run["status"], run["sourceRunId"]) == ("success", first["id"])
    assert [(node_id, inputs["url"]) for node_id, inputs, _ in engine.actions.seen[:2]] == [("in", "mine"), ("in", "z")]
    assert [node_id for node_id, _, _ in engine.actions.seen] == ["in", "in", "after"]
    assert [one["in"]["input"]["url"] for one in run["executionState"]["loop"]["iterations"]] == ["x", "mine", "z"]


async def test_retry_of_the_trigger_runs_everything_with_other_data(engine: Engine) -> None:
    first = await engine.ended(await engine.start(LOOP, {"list": ["x"]}))
    body = {"fromNodeId": "root", "input": {"body": {"list": ["p", "q"]}}}
    run = await engine.ended((await engine.call("POST", f"/v1/runs/{first['id']}/retry", body))["runId"])
    assert [one["in"]["input"]["url"] for one in run["executionState"]["loop"]["iterations"]] == ["p", "q"]


async def test_retry_on_a_newer_version_keeps_what_is_before_the_node(engine: Engine) -> None:
    engine.actions.fails("b")
    workflow = await engine.make({"root": root("a"), "a": act("b"), "b": act()})
    run_id = (await engine.call("POST", f"/v1/workflows/{workflow}/run"))["runId"]
    assert (await engine.ended(run_id))["status"] == "failure"
    newer = {"root": root("a"), "a": act("b"), "b": act("c"), "c": act()}
    await engine.call("PUT", f"/v1/workflows/{workflow}", {"definition": {"nodes": newer}})
    made = await engine.call("POST", f"/v1/runs/{run_id}/retry", {"fromNodeId": "b", "version": "latest"})
    run = await engine.ended(made["runId"])
    assert (run["workflowVersion"], states(run)) == (2, {"a": "success", "b": "success", "c": "success"})
    assert engine.actions.called("a") == 1
    await engine.call("PUT", f"/v1/workflows/{workflow}", {"definition": {"nodes": {"root": root("b"), "b": act()}}})
    for body, code in (
        ({"fromNodeId": "c", "version": 3}, 400354),
        ({"fromNodeId": "b", "version": "latest"}, 400355),
        ({"fromNodeId": "b", "path": "loop:0"}, 400356),
        ({"input": {}}, 400357),
        ({"fromNodeId": 7}, 400410),
        ({"version": "newest"}, 400410),
        ({"version": 9}, 400358),
    ):
        status, answer = await engine.client.call("POST", f"/v1/runs/{run_id}/retry", engine.client.keys["mine"], body)
        assert (status, answer["code"]) == (400, code), answer
    status, answer = await engine.client.call("POST", f"/v1/runs/{made['runId']}/retry", engine.client.keys["mine"])
    assert (status, answer["code"]) == (409, 409010)
