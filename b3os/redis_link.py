"""Batches of commands to Redis or Valkey, packed and parsed by hiredis: for the queue and the run events.

Nine commands cost 132 us of processor time in a redis-py pipeline and 14 us here, most of it for timeouts of single
answers. URLs are those of `redis_client`. What was sent over a connection that is lost fails, since nobody knows
whether it was done; the next batch connects anew. Nothing is sent twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import hiredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import ResponseError

from b3os.redis_client import SENTINEL, is_cluster, open_redis, watchers_of

#: A server that leaves a batch without an answer for this long is given up.
ANSWER_S = 5.0
SCRIPTS = ("EVAL", "EVALSHA")
#: How a server refuses writes that has become a replica: Sentinels know the new master.
DEMOTED = "READONLY"

#: The name of a command and its arguments: text, bytes or numbers.
Command: TypeAlias = tuple[Any, ...]
_NOT_YET = object()


class Link(Protocol):
    """Where batches go."""

    async def ask(self, commands: Sequence[Command], *, wait_s: float = 0.0) -> list[Any]:
        """Send commands and return their answers in order, a refusal as a ResponseError among them.

        `wait_s`: how long the commands themselves wait on the server. Raises OSError or RedisError when the server
        cannot be reached or is lost.
        """

    async def close(self) -> None:
        """Close the connections."""


def open_link(url: str) -> Link:
    """Return a link; it connects when it is first used. Raises BadInput for a URL that cannot be read."""
    client = open_redis(url)  # refuses what cannot be read, in one way for all
    return ClusterLink(client) if is_cluster(url) else ServerLink(url)


class ServerLink:
    """One connection to one server, found through Sentinels where the URL names them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._wire: _Wire | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, commands: Sequence[Command], *, wait_s: float = 0.0) -> list[Any]:
        """See Link."""
        wire = self._wire
        if wire is None or wire.is_lost:
            wire = await self._connect()
        try:
            answers = await wire.send(commands, ANSWER_S + wait_s)
        except asyncio.CancelledError:
            if wait_s:
                wire.abort("nobody waits any more")  # else the next batch would wait behind this one
            raise
        if any(isinstance(answer, ResponseError) and str(answer).startswith(DEMOTED) for answer in answers):
            wire.abort("the server is a master no more")
        return answers

    async def close(self) -> None:
        """See Link."""
        if self._wire is not None:
            self._wire.abort("closed")

    async def _connect(self) -> "_Wire":
        try:
            # The wait for another's attempt counts: callers of a server that swallows everything fail together.
            async with asyncio.timeout(ANSWER_S), self._connecting:
                if self._wire is None or self._wire.is_lost:
                    self._wire = await self._greeted()
                return self._wire
        except TimeoutError as error:
            raise ConnectionError(f"no connection within {ANSWER_S:g} s") from error

    async def _greeted(self) -> "_Wire":
        """Connect, sign in, choose the database."""
        if self._url.startswith(SENTINEL):
            watchers, name, options = watchers_of(self._url)
            try:
                options["host"], options["port"] = await watchers.discover_master(name)
            finally:
                for watcher in watchers.sentinels:
                    await watcher.aclose()
        else:
            options = dict(parse_url(self._url))
        loop = asyncio.get_running_loop()
        if "path" in options:
            _, wire = await loop.create_unix_connection(_Wire, options["path"])
        else:
            tls = None
            if options.pop("connection_class", None) is SSLConnection:
                tls = SSLConnection(**options).ssl_context.get()
            host, port = options.get("host", "localhost"), options.get("port", 6379)
            _, wire = await loop.create_connection(_Wire, host, port, ssl=tls)
        greeting = _greeting(options)
        try:
            for answer in await wire.send(greeting, ANSWER_S) if greeting else []:
                if isinstance(answer, Exception):
                    raise answer
        except BaseException as error:
            wire.abort(f"not greeted: {error}")
            raise
        return wire


def _greeting(options: dict[str, Any]) -> list[Command]:
    said: list[Command] = []
    if options.get("password"):
        user = [options["username"]] if options.get("username") else []
        said.append(("AUTH", *user, options["password"]))
    if options.get("db"):
        said.append(("SELECT", options["db"]))
    return said


class _Batch:
    """Answers that are awaited together."""

    __slots__ = ("answers", "count", "told")

    def __init__(self, count: int, told: "asyncio.Future[list[Any]]") -> None:
        self.count = count
        self.answers: list[Any] = []
        self.told = told


class _Wire(asyncio.Protocol):
    """A connection: batches go out at once, answers come back in their order."""

    def __init__(self) -> None:
        self.is_lost = False
        self._why = ""
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET, replyError=ResponseError)
        self._due: deque[_Batch] = deque()
        #: An asyncio.Transport, or uvloop's, which is none by its type.
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        self._transport = transport

    async def send(self, commands: Sequence[Command], answer_s: float) -> list[Any]:
        """Send a batch and await its answers."""
        if self.is_lost or self._transport is None:
            raise ConnectionError(self._why or "the connection is lost")
        loop = asyncio.get_running_loop()
        told: asyncio.Future[list[Any]] = loop.create_future()
        self._due.append(_Batch(len(commands), told))
        self._transport.write(b"".join([hiredis.pack_command(command) for command in commands]))
        limit = loop.call_later(answer_s, self.abort, f"no answer within {answer_s:g} s")
        try:
            return await told
        finally:
            limit.cancel()

    def data_received(self, data: bytes) -> None:
        """Give answers to whom they belong."""
        self._reader.feed(data)
        gets: Callable[[], Any] = self._reader.gets
        try:
            while (answer := gets()) is not _NOT_YET:
                batch = self._due[0]
                batch.answers.append(answer)
                if len(batch.answers) == batch.count:
                    self._due.popleft()
                    if not batch.told.done():
                        batch.told.set_result(batch.answers)
        except hiredis.HiredisError as error:
            self.abort(f"what came is no answer of a Redis server: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was under way."""
        self.is_lost = True
        self._why = self._why or f"the connection was lost: {exc or 'the server closed it'}"
        while self._due:
            told = self._due.popleft().told
            if not told.done():
                told.set_exception(ConnectionError(self._why))

    def abort(self, why: str) -> None:
        """Give the connection up."""
        self._why, self.is_lost = self._why or why, True
        if self._transport is not None:
            self._transport.abort()


class ClusterLink:
    """A cluster, through redis-py, which knows where each key is. Commands of one key keep their order."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client

    async def ask(self, commands: Sequence[Command], *, wait_s: float = 0.0) -> list[Any]:
        """See Link; how long a command may wait is the client's own matter."""
        groups: dict[Any, list[int]] = {}
        for index, command in enumerate(commands):
            groups.setdefault(command[3] if command[0] in SCRIPTS else command[1], []).append(index)
        answers: list[Any] = [None] * len(commands)

        async def one_by_one(indices: list[int]) -> None:
            for index in indices:
                try:
                    answers[index] = await self._client.execute_command(*commands[index])
                except ResponseError as error:
                    answers[index] = error

        await asyncio.gather(*(one_by_one(indices) for indices in groups.values()))
        return answers

    async def close(self) -> None:
        """See Link."""
        await self._client.aclose()
