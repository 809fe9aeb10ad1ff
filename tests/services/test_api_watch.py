"""Streams over many runs: who hears what, from when on, and what a reader that lags is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from b3os.stream import watch
from b3os.stream.events import RunEvent
from services.api.app import Api
from services.api.house import House
from tests.services.client import Client


class Reader:
    """One open stream: `frames` fill as they are sent."""

    def __init__(self) -> None:
        self.incoming = iter([{"type": "http.request", "body": b""}])
        self.frames: asyncio.Queue[str] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        for frame in message.get("body", b"").decode().split("\n\n")[:-1]:
            self.frames.put_nowait(f"{frame}\n\n")

    async def receive(self) -> dict[str, Any]:
        for message in self.incoming:
            return message
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def next(self) -> str:
        return await asyncio.wait_for(self.frames.get(), 10)


@asynccontextmanager
async def reading(house: House, path: str, key: str) -> AsyncIterator[Reader]:
    reader, (path, _, query) = Reader(), path.partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "client": ("127.0.0.1", 9),
             "headers": [(b"authorization", f"Bearer {key}".encode())]}  # fmt: skip
    serving = asyncio.ensure_future(Api(house)(scope, reader.receive, reader.send))
    try:
        assert await reader.next() == ": watching\n\n"
        yield reader
    finally:
        reader.gone.set()
        await asyncio.wait_for(serving, 10)


def event(client: Client, kind: str, run: str, *, workflow: str = "", org: str = "", **more: Any) -> RunEvent:
    return RunEvent(
        type=kind, run_id=run, org_id=org or client.ids["orgs"], workflow_id=workflow or client.ids["workflows"],
        seq=more.pop("seq", 1), timestamp=0, **more,
    )  # fmt: skip


async def test_a_workflows_watchers_hear_its_runs_begin_and_end(client: Client, house: House) -> None:
    path = f"/v1/workflows/{client.ids['workflows']}/runs/stream"
    async with reading(house, path, client.keys["reader"]) as reader:
        node = {"node_id": "a", "node_type": "http-request", "seq": 2, "result": {"secret": 1}}
        told = [
            event(client, "run_started", "run_1"),
            event(client, "run_started", "run_other", workflow="wf_other"),
            event(client, "run_started", "run_foreign", org="org_other"),
            event(client, "node_completed", "run_1", **node),
            event(client, "run_completed", "run_1", status="success", seq=1_000_000),
        ]
        await house.publisher.publish(told)
        frames = [await reader.next(), await reader.next()]
        assert [frame.splitlines()[0] for frame in frames] == ["event: run_started", "event: run_completed"]
        assert all('"runId":"run_1"' in frame for frame in frames)
        assert reader.frames.empty()
    assert house.watcher._readers == {}


async def test_activity_is_the_organizations_actions_without_their_results(client: Client, house: House) -> None:
    path = "/v1/activity/stream"
    async with reading(house, path, client.keys["mine"]) as mine, reading(house, path, client.keys["theirs"]) as theirs:
        node = {"node_id": "a", "node_type": "http-request", "seq": 2, "result": {"secret": 1}}
        await house.publisher.publish([event(client, "node_completed", "run_1", **node)])
        frame = await mine.next()
        assert '"nodeId":"a"' in frame
        assert "secret" not in frame
        assert theirs.frames.empty()


async def test_several_workflows_are_watched_at_once(client: Client, house: House) -> None:
    path = f"/v1/workflow-runs/stream?ids={client.ids['workflows']},wf_theirs"
    async with reading(house, path, client.keys["mine"]) as reader:
        await house.publisher.publish([event(client, "run_started", "run_2")])
        assert '"runId":"run_2"' in await reader.next()


@pytest.mark.parametrize("ids", ["", ",", ",".join(f"wf_{n}" for n in range(25))])
async def test_a_list_of_workflows_is_bounded(client: Client, ids: str) -> None:
    status, answer = await client.call("GET", f"/v1/workflow-runs/stream?ids={ids}", client.keys["mine"])
    assert (status, answer["code"]) == (400, 400413)


async def test_a_reader_that_lags_is_cut(client: Client, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUEUE_LIMIT", 2)
    async with reading(house, "/v1/activity/stream", client.keys["mine"]) as reader:
        await house.publisher.publish([event(client, "run_started", f"run_{n}") for n in range(9)])
        frames = []
        while not frames or frames[-1] != ": resync\n\n":
            frames.append(await reader.next())
        assert len(frames) < 9
