"""The worker's client of the actions process, against servers that answer late, badly, half or not at all."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from b3os.embedded.supervisor import free_port
from b3os.errors import ActionFailed
from b3os.run.commands import CallAction
from services.worker.app import CONCURRENCY
from services.worker.dispatch import ActionsClient

ANSWER = b'{"success":true,"data":1}'
FAILED = b'{"success":false,"error":{"code":"API_ERROR","message":"no","category":"service","retryable":true}}'

Writer = asyncio.StreamWriter
Behave = Callable[[Writer], Awaitable[None]]


def http(body: bytes, status: str = "200 OK", *, size: int | None = None) -> bytes:
    """A whole answer, or one that promises more than it has."""
    length = len(body) if size is None else size
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), length, body)


@asynccontextmanager
async def actions(*script: bytes, port: int = 0) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Answer one call after the other as scripted, the last way for ever; an empty or half answer hangs up."""
    calls: list[dict[str, Any]] = []
    writers: list[Writer] = []

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                calls.append(json.loads(await read_call(reader)))
                answer = script[min(len(calls), len(script)) - 1]
                writer.write(answer)
                await writer.drain()
                if not answer.endswith(b"}"):
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def read_call(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return await reader.readexactly(length)


async def execute(url: str, timeout_ms: int = 20_000) -> object:
    """One call with a client of its own."""
    client = ActionsClient(url, "key", chance=lambda: 1.0)
    command = CallAction("a", "", "http-request", {}, None, "once", timeout_ms=timeout_ms)
    try:
        return await client.execute(command, org_id="org_1", workflow_id="wf_1", run_id="run_1", credential=None)
    finally:
        await client.close()


async def test_as_many_calls_are_in_flight_as_a_worker_holds_runs() -> None:
    there = asyncio.Barrier(CONCURRENCY)

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        await read_call(reader)
        await there.wait()
        writer.write(http(ANSWER).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=CONCURRENCY)
    client = ActionsClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
    command = CallAction("a", "", "http-request", {}, None, "once")

    async def call(number: int) -> object:
        return await client.execute(
            command, org_id="org_1", workflow_id="wf_1", run_id=f"run_{number}", credential=None
        )

    async with server, asyncio.timeout(20):
        answers = await asyncio.gather(*[call(number) for number in range(CONCURRENCY)])
        await client.close()
    assert answers == [1] * CONCURRENCY


@pytest.mark.parametrize(
    "silence",
    [b"", http(ANSWER, size=1000)[:-1], http(b'{"code":503050,"message":"stopped"}', "503 Service Unavailable")],
    ids=["hangs up", "breaks off", "says that it stops"],
)
async def test_a_call_without_an_answer_is_made_again_under_its_key(silence: bytes) -> None:
    async with actions(silence, silence, silence, http(ANSWER)) as (url, calls):
        assert await execute(url) == 1
    assert len(calls) == 4
    assert {call["idempotencyKey"] for call in calls} == {"once"}


async def test_a_process_that_is_not_there_yet_is_awaited() -> None:
    port = free_port()
    asking = asyncio.create_task(execute(f"http://127.0.0.1:{port}"))
    await asyncio.sleep(0)
    async with actions(http(ANSWER), port=port), asyncio.timeout(20):
        assert await asking == 1


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (http(FAILED), "API_ERROR", "no"),
        (http(b'{"code":401000,"message":"the key is wrong"}', "401 Unauthorized"), "401000", "the key is wrong"),
        (http(b"{}"), "API_ERROR", "nonsense"),
        (http(b"{}", "500 Internal Server Error"), "API_ERROR", "nonsense"),
    ],
)
async def test_an_answer_is_final(answer: bytes, code: str, words: str) -> None:
    async with actions(answer) as (url, calls):
        with pytest.raises(ActionFailed, match=words) as failed:
            await execute(url)
    assert failed.value.error_code == code
    assert len(calls) == 1


async def test_nobody_is_asked_longer_than_the_nodes_deadline() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(ActionFailed, match="ClientConnectorError") as failed:
        await execute(f"http://127.0.0.1:{free_port()}", timeout_ms=400)
    assert (failed.value.error_code, failed.value.retryable) == ("503051", True)
    assert loop.time() - began < 5
