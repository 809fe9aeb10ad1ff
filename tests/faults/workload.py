"""Workflows whose effects are in the ledger, and a sender that repeats a trigger until it is accepted."""

import asyncio
from collections.abc import Iterable
from typing import Any

import aiohttp

from tests.faults.plant import Plant

#: Requests that one sender has under way.
AT_ONCE = 32


def log(*children: str, **more: Any) -> dict[str, Any]:
    """A node that needs nobody."""
    return {"type": "log", "payload": {"message": "{{$trigger.body.n}}"}, "children": list(children), **more}


def effect(plant: Plant, path: str, *children: str, **more: Any) -> dict[str, Any]:
    """A node whose effect is a line in the ledger."""
    payload = {"url": plant.ledger.url + path, "method": "POST", "body": {"n": "{{$trigger.body.n}}"}}
    return {"type": "http-request", "payload": payload, "children": list(children), **more}


def publish(plant: Plant, nodes: dict[str, Any], *children: str) -> dict[str, Any]:
    """Publish a webhook workflow whose trigger leads to `children`; returns it."""
    root = {"type": "webhook", "payload": {}, "children": list(children)}
    return plant.publish("under test", {"nodes": {"root": root, **nodes}})


def five_nodes(plant: Plant, first: str = "/one", **more: Any) -> dict[str, Any]:
    """Publish a, one, b, two, c: two effects with pure nodes around them."""
    nodes = {
        "a": log("one"),
        "one": effect(plant, first, "b", **more),
        "b": log("two"),
        "two": effect(plant, "/two", "c", **more),
        "c": log(),
    }
    return publish(plant, nodes, "a")


def send(plant: Plant, workflow: dict[str, Any], numbers: Iterable[int], limit_s: float = 90.0) -> dict[int, str]:
    """Fire once for each number, again and again until it is accepted; returns the runs by number."""
    return plant.wait(_send(plant, workflow["triggerSecret"], list(numbers), limit_s), limit_s + 10)


async def _send(plant: Plant, secret: str, numbers: list[int], limit_s: float) -> dict[int, str]:
    room = asyncio.Semaphore(AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.timeout(limit_s):

        async def one(number: int) -> str:
            async with room:
                while True:
                    found = await post(session, plant, secret, number)
                    if found:
                        return found
                    await asyncio.sleep(0.05)

        return dict(zip(numbers, await asyncio.gather(*map(one, numbers)), strict=True))


async def post(session: aiohttp.ClientSession, plant: Plant, secret: str, number: int) -> str:
    """Fire once; empty when it was not accepted, or the answer was lost."""
    url, key = f"{plant.url}/v1/webhooks/{secret}", {"idempotency-key": f"n-{number}"}
    try:
        async with session.post(url, json={"n": number}, headers=key) as response:
            answer = await response.json()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""
    return str(answer["data"]["runId"]) if response.status < 400 else ""
