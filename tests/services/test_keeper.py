"""Keepers: how masters share sources, give them and take them over, and sources that behave badly."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from b3os.store.pool import Pool, open_pool
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


class Shop:
    """A family of sources that note who polls them; each poll waits until it is let go on."""

    types: frozenset[str] = frozenset()

    def __init__(self, *names: str, kind: "type[Stall] | None" = None) -> None:
        self.stalls = [(kind or Stall)(name) for name in names]

    def wanted(self) -> "list[Stall]":
        return self.stalls


class Stall:
    """One source; `settled` is set when it was told to store what it read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.org_id = ""
        self.began, self.may_end, self.settled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.may_end.set()
        self.is_forgotten = asyncio.Event()

    async def poll(self, _epoch: int) -> float:
        self.began.set()
        await self.may_end.wait()
        return 60.0

    async def settle(self, _epoch: int) -> None:
        self.settled.set()

    def failed(self, error: Exception) -> float:
        raise error

    def report(self) -> tuple[str, dict[str, object]]:
        return "", {}

    async def forget(self) -> None:
        self.is_forgotten.set()


class Hearing(Stall):
    """A source that hears of news between its polls; there is none."""

    async def listen(self) -> None:
        await asyncio.Event().wait()

    async def rest(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)


class Two:
    """Keepers on one database, each a task that can be ended as by a kill."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.keeping: dict[str, asyncio.Task[None]] = {}

    def start(self, owner: str, shop: Shop) -> Keeper:
        keeper = Keeper(self.pool, owner, [shop])  # type: ignore[list-item]
        self.keeping[owner] = asyncio.create_task(keeper.serve())
        return keeper

    async def kill(self, owner: str) -> None:
        task = self.keeping.pop(owner)
        task.cancel()
        await asyncio.wait([task])

    async def owners(self) -> dict[str, str]:
        rows = await self.pool.fetch(
            "select name, owner from leases where until > now() and not starts_with(name, 'master:')"
        )
        return {row["name"]: row["owner"] for row in rows}

    async def until(self, is_so: Callable[[dict[str, str]], bool], limit_s: float = 20.0) -> float:
        """Wait until the leases are so; returns how long it took."""
        began = time.monotonic()
        async with asyncio.timeout(limit_s):
            while not is_so(await self.owners()):
                await asyncio.sleep(0.02)
        return time.monotonic() - began


@pytest.fixture
async def two(pg_url: str) -> AsyncIterator[Two]:
    found = Two(await open_pool(pg_url))
    yield found
    for owner in list(found.keeping):
        await found.kill(owner)
    await found.pool.close()


NAMES = ("cron", "chain:1", "chain:2", "chain:3", "price")


def split(*counts: int) -> Callable[[dict[str, str]], bool]:
    return lambda owners: sorted(Counter(owners.values()).values()) == sorted(counts)


@pytest.mark.parametrize("kind", [Stall, Hearing])
async def test_a_master_that_comes_gets_its_share(two: Two, kind: type[Stall]) -> None:
    first, second = Shop(*NAMES, kind=kind), Shop(*NAMES, kind=kind)
    two.start("m1", first)
    await two.until(split(5))
    two.start("m2", second)
    await two.until(split(3, 2))
    given = {name for name, owner in (await two.owners()).items() if owner == "m2"}
    assert {stall.name for stall in first.stalls if stall.settled.is_set()} == given, "stored before it was given"
    async with asyncio.timeout(20):
        for stall in second.stalls:
            if stall.name in given:
                await stall.began.wait()


async def test_a_poll_in_hand_ends_before_its_source_is_given(two: Two) -> None:
    first, second = Shop("chain:1", "chain:2"), Shop("chain:1", "chain:2")
    for stall in first.stalls:
        stall.may_end.clear()
    two.start("m1", first)
    await two.until(split(2))
    two.start("m2", second)
    asked, renewed = "select name from leases where asked_by = 'm2'", "select until from leases where name = 'chain:1'"
    async with asyncio.timeout(20):
        while (wanted := await two.pool.fetchval(asked)) is None:
            await asyncio.sleep(0.02)
        for _ in range(2):  # the holder has seen the question
            before = await two.pool.fetchval(renewed)
            while await two.pool.fetchval(renewed) == before:
                await asyncio.sleep(0.02)
    assert await two.owners() == {"chain:1": "m1", "chain:2": "m1"}
    epoch = await two.pool.fetchval("select epoch from leases where name = $1", wanted)
    for stall in first.stalls:
        stall.may_end.set()
    await two.until(lambda owners: owners.get(wanted) == "m2")
    assert await two.pool.fetchval("select epoch from leases where name = $1", wanted) == epoch + 1


async def test_a_dead_masters_sources_are_taken_within_five_seconds(two: Two) -> None:
    two.start("m1", Shop(*NAMES))
    await two.until(split(5))
    survivor = Shop(*NAMES)
    two.start("m2", survivor)
    await two.until(split(3, 2))
    await two.kill("m1")
    assert await two.until(lambda owners: owners == dict.fromkeys(NAMES, "m2")) <= 5.0


async def test_masters_at_rest_move_nothing(two: Two) -> None:
    two.start("m1", Shop(*NAMES))
    two.start("m2", Shop(*NAMES))
    await two.until(lambda owners: len(owners) == len(NAMES) and split(3, 2)(owners))
    sql = "select name, epoch, owner, asked_by from leases order by 1"
    before = await two.pool.fetch(sql)
    until = "select min(until) from leases"
    renewed = await two.pool.fetchval(until)
    async with asyncio.timeout(30):
        for _ in range(3):
            while await two.pool.fetchval(until) <= renewed:
                await asyncio.sleep(0.05)
            renewed = await two.pool.fetchval(until)
    assert await two.pool.fetch(sql) == before


async def test_a_source_made_anew_under_its_name_is_the_one_that_is_read(two: Two) -> None:
    shop = Shop("slack:org_a:conn_1")
    keeper = two.start("m1", shop)
    [old] = shop.stalls
    async with asyncio.timeout(20):
        await old.began.wait()
        shop.stalls = [Stall(old.name)]
        keeper.wake()
        await old.is_forgotten.wait()
        await shop.stalls[0].began.wait()


async def test_how_an_unwanted_source_fared_is_forgotten(two: Two) -> None:
    state = "insert into source_states (source, holder, told_at) values ($1, 'm0', now() - make_interval(secs => $2))"
    await two.pool.execute(state, "slack:org_a:token:old", 90.0)
    await two.pool.execute(state, "slack:org_a:token:elsewhere", 5.0)
    await two.pool.execute(state, "cron", 90.0)
    two.start("m1", Shop("cron"))
    async with asyncio.timeout(20):
        left = {"cron", "slack:org_a:token:elsewhere"}
        while {row["source"] for row in await two.pool.fetch("select source from source_states")} != left:
            await asyncio.sleep(0.02)


async def test_a_keeper_that_closes_leaves_nothing_held(two: Two) -> None:
    keeper = two.start("m1", Shop(*NAMES))
    await two.until(split(5))
    await two.kill("m1")
    await keeper.close()
    assert await two.owners() == {}
    assert await two.pool.fetchval("select count(*) from leases where starts_with(name, 'master:')") == 0
