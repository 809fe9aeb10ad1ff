"""The worker's client of the actions process, against a server that answers only once all calls are there."""

import asyncio

from b3os.run.commands import CallAction
from services.worker.app import CONCURRENCY
from services.worker.dispatch import ActionsClient

ANSWER = b'{"success":true,"data":1}'


async def test_as_many_calls_are_in_flight_as_a_worker_holds_runs() -> None:
    there = asyncio.Barrier(CONCURRENCY)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        await there.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
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
