"""Ending what goes on for ever."""

import asyncio
from collections.abc import Iterable

AGAIN_S = 0.5


async def end_all(tasks: "Iterable[asyncio.Task[None]]") -> None:
    """Cancel tasks until they have ended.

    A library may swallow a cancellation that meets the answer it waits for (`asyncio.wait_for` before Python 3.12
    does); asking once would then wait for ever.
    """
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN_S)
