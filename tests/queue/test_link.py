"""Batches of commands over one connection, on real servers."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.exceptions import ResponseError

from b3os import redis_link
from b3os.embedded.locate import valkey_server
from b3os.embedded.supervisor import free_port
from b3os.redis_link import ServerLink, open_link
from tests.queue.test_broker import answering


@contextlib.contextmanager
def server(port: int, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [str(valkey_server()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def linked(url: str) -> AsyncIterator[ServerLink]:
    link = open_link(url)
    assert isinstance(link, ServerLink)
    try:
        yield link
    finally:
        await link.close()


async def test_answers_come_in_the_order_of_the_commands(redis_url: str) -> None:
    data = bytes(range(256)) * 300
    async with linked(redis_url) as link:
        answers = await link.ask([("SET", "a", data), ("GET", "a"), ("GET", "none"), ("RPUSH", "l", 1, 2.5, "é")])
        assert answers == [b"OK", data, None, 3]
        assert await link.ask([("LRANGE", "l", 0, -1)]) == [[b"1", b"2.5", "é".encode()]]


async def test_a_refused_command_refuses_no_other(redis_url: str) -> None:
    async with linked(redis_url) as link:
        first, refused, last = await link.ask([("SET", "a", 1), ("LPUSH", "a", 1), ("INCR", "a")])
    assert (first, last) == (b"OK", 2)
    assert isinstance(refused, ResponseError)
    assert "WRONGTYPE" in str(refused)


async def test_callers_at_once_get_their_own_answers(redis_url: str) -> None:
    async with linked(redis_url) as link:
        sizes = [number % 5 + 1 for number in range(200)]
        found = await asyncio.gather(*(link.ask([("ECHO", n)] * size) for n, size in enumerate(sizes)))
    assert found == [[str(n).encode()] * size for n, size in enumerate(sizes)]


async def test_signs_in_and_chooses_the_database() -> None:
    port = free_port()
    with server(port, "--requirepass", "open sesame"):
        await answering(port)
        async with linked(f"redis://:open%20sesame@127.0.0.1:{port}/3") as link:
            await link.ask([("SET", "a", 1)])
            assert b"db3:keys=1" in (await link.ask([("INFO", "keyspace")]))[0]
        async with linked(f"redis://:wrong@127.0.0.1:{port}") as link:
            with pytest.raises(ResponseError, match="WRONGPASS"):
                await link.ask([("PING",)])


async def test_a_lost_server_fails_what_was_sent_and_a_new_one_is_found() -> None:
    port = free_port()
    async with linked(f"redis://127.0.0.1:{port}") as link:
        with pytest.raises(ConnectionRefusedError):
            await link.ask([("PING",)])
        with server(port) as process:
            await answering(port)
            await link.ask([("PING",)])
            sleeping = asyncio.ensure_future(link.ask([("BLPOP", "nothing", 60)], wait_s=60))
            process.kill()
            with pytest.raises(ConnectionError, match="lost"):
                await sleeping
            process.wait()
        with server(port):
            await answering(port)
            assert await link.ask([("PING",)]) == [b"PONG"]


async def test_who_no_longer_waits_holds_nobody_up(redis_url: str) -> None:
    async with linked(redis_url) as link:
        sleeping = asyncio.ensure_future(link.ask([("BLPOP", "wake", 60)], wait_s=60))
        async with asyncio.timeout(10), linked(redis_url) as other:
            while b"blocked_clients:1" not in (await other.ask([("INFO", "clients")]))[0]:
                await asyncio.sleep(0)
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            assert await link.ask([("PING",)]) == [b"PONG"]
            while b"blocked_clients:0" not in (await other.ask([("INFO", "clients")]))[0]:
                await asyncio.sleep(0)
            # Nobody takes what comes now.
            await other.ask([("RPUSH", "wake", 1)])
            assert await other.ask([("LLEN", "wake")]) == [1]


async def test_a_cancelled_caller_leaves_the_answers_of_others_in_place(redis_url: str) -> None:
    async with linked(redis_url) as link:
        await link.ask([("PING",)])
        left = asyncio.ensure_future(link.ask([("ECHO", "left")]))
        kept = asyncio.ensure_future(link.ask([("ECHO", "kept")]))
        await asyncio.sleep(0)
        left.cancel()
        assert await kept == [b"kept"]


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "ANSWER_S", 0.05)
    connections: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent, linked(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}") as link:
        for attempt in (1, 2):
            with pytest.raises(ConnectionError, match=r"no answer within 0\.05 s"):
                await link.ask([("PING",)])
            assert len(connections) == attempt
        for writer in connections:
            writer.close()


async def test_callers_of_a_server_that_greets_nobody_fail_together_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_link, "ANSWER_S", 0.3)
    left: list[asyncio.Task[bytes]] = []
    connections: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        left.append(asyncio.create_task(reader.read()))

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent, linked(f"redis://:secret@127.0.0.1:{silent.sockets[0].getsockname()[1]}") as link:
        began = asyncio.get_running_loop().time()
        failed = await asyncio.gather(*(link.ask([("PING",)]) for _ in range(20)), return_exceptions=True)
        assert {type(error) for error in failed} == {ConnectionError}
        assert asyncio.get_running_loop().time() - began < 20 * 0.3 / 2
        async with asyncio.timeout(10):
            await asyncio.gather(*left)  # each was closed from our side
        for writer in connections:
            writer.close()


async def test_what_is_no_redis_server_is_told() -> None:
    async def speak_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    web = await asyncio.start_server(speak_http, "127.0.0.1", 0)
    async with web, linked(f"redis://127.0.0.1:{web.sockets[0].getsockname()[1]}") as link:
        with pytest.raises(ConnectionError, match="no answer of a Redis server"):
            await link.ask([("PING",)])


async def test_a_demoted_master_is_left() -> None:
    """What a replica refuses is refused, and the next batch asks anew where the master is."""
    port = free_port()
    with server(port, "--replicaof", "127.0.0.1 1"):
        await answering(port)
        async with linked(f"redis://127.0.0.1:{port}") as link:
            (refused,) = await link.ask([("SET", "a", 1)])
            assert str(refused).startswith("READONLY")
            (first,) = await link.ask([("CLIENT", "ID")])
            (refused,) = await link.ask([("SET", "a", 1)])
            (second,) = await link.ask([("CLIENT", "ID")])
            assert second != first
