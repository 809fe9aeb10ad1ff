"""Masters that read an emulated Polymarket, in time of their own, on a real database: what its tests share."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asyncpg import PostgresError

from b3os.actions.upstreams import Upstreams
from b3os.detect.polymarket_place import Limits
from b3os.errors import B3osError, StaleEpoch
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store import leases, triggers
from b3os.store.pool import Pool, open_pool
from services.master.admit import Admitter
from services.master.sources import polymarket_feed
from services.master.sources.polymarket import Polymarket
from services.master.sources.polymarket_markets import MarketSource
from services.master.sources.polymarket_trades import TradeSource
from services.master.table import Table
from tests.emulators.polymarket import Polymarket as Service
from tests.store.rows import make_workflow
from tests.trigger_records import record

LIMIT_S = 30.0
#: Pings, in real seconds: the master's own time runs faster.
BEATS = {"CHANNEL_BEAT": ("PING", 0.02), "LIVE_BEAT": ("ping", 0.02)}
#: Each look at a socket takes this long of our time, and of the master's own.
WAIT_S, STEP_S = 0.002, 0.25
SMALL = Limits(page=4, further=8, largest=64, deepest=1000, has_window=True)


class Master:
    """One master's sources, in time of its own."""

    def __init__(self, place: "Place", owner: str, limits: Limits) -> None:
        self.place, self.owner, self.clock = place, owner, 0.0
        self.http, self.table = GuardedClient(), Table()
        self.upstreams = Upstreams(self.http, place.settings.provider_urls)
        self.family = Polymarket(
            place.settings, upstreams=self.upstreams, admitter=Admitter(place.pool, place.broker), pool=place.pool,
            table=self.table, spacing_s=0.0, monotonic=lambda: self.clock, limits=limits, wait_s=WAIT_S,
        )  # fmt: skip
        self.table.follow([self.family])
        self.epochs: dict[str, int] = {}
        self.errors: list[str] = []
        for row in place.rows.values():
            self.table.apply(row)

    async def step(self) -> None:
        """Poll every source once, as the keeper does."""
        for source in self.family.wanted():
            if source.name not in self.epochs:
                epoch = await leases.acquire(self.place.pool, source.name, self.owner, 60)
                assert epoch is not None
                self.epochs[source.name] = epoch
            await self._poll(source)
        self.clock += STEP_S

    async def _poll(self, source: TradeSource | MarketSource) -> None:
        try:
            await source.poll(self.epochs[source.name])
        except StaleEpoch:
            raise
        except (B3osError, PostgresError) as error:
            self.errors.append(str(error))
            source.failed(error)

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Poll until something is so."""
        async with asyncio.timeout(LIMIT_S):
            while not await is_so():
                await self.step()

    async def until_seen(self, is_so: Callable[[], bool]) -> None:
        """Poll until something is so of the service."""

        async def is_seen() -> bool:
            return is_so()

        await self.until(is_seen)

    async def for_s(self, seconds: float) -> None:
        """Poll for a while."""
        end = self.clock + seconds
        await self.until_seen(lambda: self.clock >= end)

    async def give_back(self) -> None:
        """Let go of the leases and the connections."""
        for name in self.epochs:
            await leases.release(self.place.pool, name, self.owner)
        await self.close()

    async def close(self) -> None:
        for source in (self.family.trades, self.family.bets, self.family.markets):
            await source.forget()
        await self.upstreams.close()
        await self.http.close()


class Place:
    """An emulated service, a database, and the masters between them."""

    def __init__(self, service: Service, pool: Pool, broker: Broker, limits: Limits = SMALL) -> None:
        self.service, self.pool, self.broker, self.limits = service, pool, broker, limits
        self.settings = Settings(**service.settings)  # type: ignore[arg-type]
        self.rows: dict[str, bytes] = {}
        self.masters: list[Master] = []
        self.master = self.start("m0")

    def start(self, owner: str) -> Master:
        """Start a master; what it holds is what was published."""
        made = Master(self, owner, self.limits)
        self.masters.append(made)
        return made

    async def change_master(self) -> None:
        """Let another master go on."""
        await self.master.give_back()
        self.master = self.start(f"m{len(self.masters)}")

    async def publish(self, workflow: str, kind: str, payload: dict[str, Any], *, since_ms: int = 0) -> None:
        """Publish a trigger, again or for the first time, and tell every master."""
        if workflow not in self.rows:
            await make_workflow(self.pool, workflow)
        self.rows[workflow] = record(workflow, kind, payload, since_ms=since_ms or time.time_ns() // 10**6)
        for master in self.masters:
            master.table.apply(self.rows[workflow])

    def retire(self, workflow: str) -> None:
        """Take a trigger away."""
        del self.rows[workflow]
        for master in self.masters:
            master.table.apply(record(workflow, "manual", active=False))

    async def results(self, workflow: str) -> list[dict[str, Any]]:
        """The trigger results of a workflow's runs, in any order."""
        query = "select trigger_result from runs where workflow_id = $1 order by id"
        return [row["trigger_result"] for row in await self.pool.fetch(query, workflow)]

    def ran(self, workflow: str, *hashes: str) -> Callable[[], Awaitable[bool]]:
        """Whether exactly these transactions ran."""

        async def is_so() -> bool:
            found = [result["trade"]["transactionHash"] for result in await self.results(workflow)]
            return sorted(found) == sorted(hashes)

        return is_so

    def told(self, workflow: str, words: str) -> Callable[[], Awaitable[bool]]:
        """Whether a trigger was told a problem in these words."""

        async def is_so() -> bool:
            found = await triggers.problems_of(self.pool, "org_a", workflow)
            return words in str([one.message for one in found]) if words else not found

        return is_so

    async def __aenter__(self) -> "Place":
        return self

    async def __aexit__(self, *_: object) -> None:
        for master in self.masters:
            await master.close()
        await self.broker.close()
        await self.pool.close()
        await self.service.stop()


@contextlib.asynccontextmanager
async def emulated(pg_url: str, redis_url: str, *, patience_s: float = 30.0) -> AsyncIterator[Place]:
    """A service and a master beside it, who pings as often as the master's time wants it."""
    with pytest.MonkeyPatch.context() as patched:
        for name, beat in BEATS.items():
            patched.setattr(polymarket_feed, name, beat)
        service = await Service(patience_s=patience_s).start()
        async with Place(service, await open_pool(pg_url), Broker(redis_url)) as place:
            yield place
