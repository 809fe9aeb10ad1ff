"""A keeper and sources that behave badly."""

import asyncio

import pytest

from b3os.store.pool import open_pool
from services.master.keeper import Keeper


class Deaf:
    """A source whose poll swallows its cancellation, as a client library may; it is its own family."""

    name = "deaf"
    types: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.polled = asyncio.Event()
        self.polls = 0

    def wanted(self) -> tuple["Deaf"]:
        return (self,)

    async def poll(self, _epoch: int) -> float:
        self.polls += 1
        self.polled.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 0.0
        return 0.0

    async def forget(self) -> None:
        """Nothing is held."""


async def test_a_keeper_ends_though_a_source_swallows_its_cancellation(pg_url: str) -> None:
    pool, source = await open_pool(pg_url), Deaf()
    keeping = asyncio.create_task(Keeper(pool, "me", [source]).serve())  # type: ignore[list-item]
    async with asyncio.timeout(20):
        await source.polled.wait()
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
    assert source.polls == 1
    await pool.close()
