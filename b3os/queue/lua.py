"""Runs the Lua scripts: by their hash, and by their text where a server does not know them yet."""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from b3os.errors import Unavailable
from b3os.queue.calls import Call
from b3os.queue.keys import WAKE

FOLDER = Path(__file__).parent / "scripts"
#: What a wake-up says: some lane has something; runs wait in the database.
TASKS, RUNS = b"1", b"2"
#: Wake-ups kept: more workers than this are never asleep at once, and each wakes up for one.
WAKES_KEPT = 64


@cache
def text_of(name: str) -> str:
    """Return a script."""
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")


@cache
def _hash(name: str) -> str:
    return hashlib.sha1(text_of(name).encode(), usedforsecurity=False).hexdigest()


def unavailable(error: RedisError | OSError) -> Unavailable:
    """Say that the ops Redis cannot be reached."""
    return Unavailable(f"the ops Redis cannot be reached: {error}")


async def run_all(client: Any, calls: Sequence[Call], *, wake: bytes = b"") -> list[Any]:
    """Run scripts, each atomic by itself, then wake a worker; in one round trip. Unavailable if Redis is not there."""
    try:
        if len(calls) == 1 and not wake:
            return [await _run(client, calls[0])]
        if isinstance(client, RedisCluster):
            # A cluster's lanes live on different nodes: nothing is gained by one pipeline.
            answers = await asyncio.gather(*(_run(client, call) for call in calls))
            if wake:
                await client.rpush(WAKE, wake)
                await client.ltrim(WAKE, 0, WAKES_KEPT - 1)
            return answers
        async with client.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(_hash(call.name), len(call.keys), *call.keys, *call.args)
            if wake:
                pipe.rpush(WAKE, wake)
                pipe.ltrim(WAKE, 0, WAKES_KEPT - 1)
            answers = await pipe.execute(raise_on_error=False)
        return await _checked(client, calls, answers, wake)
    except (RedisError, OSError) as error:
        raise unavailable(error) from error


async def _checked(client: Any, calls: Sequence[Call], answers: list[Any], wake: bytes) -> list[Any]:
    """Run again what the server did not know; the wake-up then came too early, and is repeated."""
    is_late = False
    for index, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            answers[index] = await _run(client, calls[index])
            is_late = True
        elif isinstance(answer, Exception):
            raise answer
    if is_late and wake:
        await client.rpush(WAKE, wake)
    return answers[: len(calls)]


async def _run(client: Any, call: Call) -> Any:
    try:
        return await client.evalsha(_hash(call.name), len(call.keys), *call.keys, *call.args)
    except NoScriptError:
        return await client.eval(text_of(call.name), len(call.keys), *call.keys, *call.args)
