"""Runs the Lua scripts: by their hash, and by their text where a server does not know them yet."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from b3os.errors import Unavailable
from b3os.queue.calls import Call
from b3os.queue.keys import WAKE
from b3os.redis_link import ClusterLink, Command, Link

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


async def run_all(link: Link, calls: Sequence[Call], *, wake: bytes = b"") -> list[Any]:
    """Run scripts, each atomic by itself, then wake a worker; in one round trip. Unavailable if Redis is not there."""
    scripts = [_by_hash(call) for call in calls]
    waking: list[Command] = [("RPUSH", WAKE, wake), ("LTRIM", WAKE, 0, WAKES_KEPT - 1)] if wake else []
    try:
        if isinstance(link, ClusterLink):
            # A cluster's keys live on different nodes: the wake-up must not overtake what it tells of.
            answers = await _checked(link, calls, await link.ask(scripts) if scripts else [], b"")
            await ask(link, waking)
            return answers
        return await _checked(link, calls, await link.ask([*scripts, *waking]), wake)
    except (RedisError, OSError) as error:
        raise unavailable(error) from error


async def ask(link: Link, commands: Sequence[Command], *, wait_s: float = 0.0) -> list[Any]:
    """Run plain commands; Unavailable if Redis is not there or refuses one."""
    try:
        answers = await link.ask(commands, wait_s=wait_s) if commands else []
    except (RedisError, OSError) as error:
        raise unavailable(error) from error
    for answer in answers:
        if isinstance(answer, RedisError):
            raise unavailable(answer)
    return answers


async def _checked(link: Link, calls: Sequence[Call], answers: list[Any], wake: bytes) -> list[Any]:
    """Run again what the server did not know; the wake-up then came too early, and is repeated."""
    unknown = [index for index, answer in enumerate(answers) if _is_unknown(answer)]
    if unknown:
        for index, answer in zip(unknown, await link.ask([_by_text(calls[index]) for index in unknown]), strict=True):
            answers[index] = answer
        if wake:
            await link.ask([("RPUSH", WAKE, wake)])
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers[: len(calls)]


def _is_unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError) or (isinstance(answer, RedisError) and str(answer).startswith("NOSCRIPT"))


def _by_hash(call: Call) -> Command:
    return ("EVALSHA", _hash(call.name), len(call.keys), *call.keys, *call.args)


def _by_text(call: Call) -> Command:
    return ("EVAL", text_of(call.name), len(call.keys), *call.keys, *call.args)
