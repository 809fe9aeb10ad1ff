"""Masters that poll a service, in virtual time, on a real database: what tests of such sources share."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asyncpg import PostgresError

from b3os.actions.upstreams import Upstreams
from b3os.auth.connectors import seal_credential
from b3os.errors import B3osError, StaleEpoch
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store import connectors, leases, triggers
from b3os.store.pool import Pool
from services.master.admit import Admitter
from services.master.table import Table
from tests.services.conftest import MASTER_KEY
from tests.store.rows import make_workflow
from tests.trigger_records import record

LIMIT_S = 30.0
#: Makes a family of what each has: settings, upstreams, admitter, pool, table, monotonic.
Make = Callable[..., Any]


class Master:
    """One master's sources of a family, in time of its own, unless it is given a clock."""

    def __init__(self, place: "Place", owner: str, monotonic: Callable[[], float] | None = None) -> None:
        self.place, self.owner, self.clock = place, owner, 0.0
        self.http = GuardedClient()
        self.table = Table()
        self.upstreams = Upstreams(self.http, place.settings.provider_urls)
        self.family = place.make(
            place.settings, upstreams=self.upstreams, admitter=Admitter(place.pool, place.broker), pool=place.pool,
            table=self.table, monotonic=monotonic or (lambda: self.clock),
        )  # fmt: skip
        self.table.follow([self.family])
        self.epochs: dict[str, int] = {}
        self.errors: list[str] = []
        #: When calls were made.
        self.called: list[float] = []
        for row in place.rows.values():
            self.table.apply(row)

    def source(self, connector: str = "conn_1") -> Any:
        return next(one for one in self.family.wanted() if one.name.endswith(f":org_a:{connector}"))

    async def step(self, source: Any) -> None:
        """Poll once, as the keeper does."""
        if source.name not in self.epochs:
            epoch = await leases.acquire(self.place.pool, source.name, self.owner, 60)
            assert epoch is not None
            self.epochs[source.name] = epoch
        before = len(self.place.service.calls)
        try:
            pause = await source.poll(self.epochs[source.name])
        except StaleEpoch:
            raise
        except (B3osError, PostgresError) as error:
            self.errors.append(str(error))
            pause = source.failed(error)
        self.called += [self.clock] * (len(self.place.service.calls) - before)
        self.clock += pause + 0.001

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Poll all sources until something is so."""
        async with asyncio.timeout(LIMIT_S):
            while not await is_so():
                for source in self.family.wanted():
                    await self.step(source)

    async def for_s(self, seconds: float) -> None:
        """Poll for a while."""
        end = self.clock + seconds

        async def is_over() -> bool:
            return self.clock >= end

        await self.until(is_over)

    async def close(self) -> None:
        await self.upstreams.close()
        await self.http.close()


class Place:
    """An emulated service, a database, and the masters between them; `text` is what is shown of a run's result."""

    def __init__(
        self, service: Any, pool: Pool, broker: Broker, *, make: Make, provider: str, credential: dict[str, str],
        text: str, **settings: str,
    ) -> None:  # fmt: skip
        self.service, self.pool, self.broker, self.make = service, pool, broker, make
        urls = json.dumps({provider: service.url})
        self.settings = Settings(master_key=MASTER_KEY, provider_urls=urls, **settings)  # type: ignore[arg-type]
        self.credential_of = credential
        self.text = text
        self.rows: dict[str, bytes] = {}
        self.masters: list[Master] = []
        self.master = self.start("m1")

    def start(self, owner: str, monotonic: Callable[[], float] | None = None) -> Master:
        """Start a master; what it holds is what was published."""
        made = Master(self, owner, monotonic)
        self.masters.append(made)
        return made

    async def credential(self, connector: str, credential: dict[str, str]) -> None:
        """Store another credential."""
        sealed = await seal_credential(self.pool, "org_a", connector, MASTER_KEY, credential)
        await connectors.update_connector(self.pool, "org_a", connector, by="u", secret=sealed)

    async def publish(
        self, workflow: str, kind: str, payload: dict[str, Any], *, connector: tuple[str, str], since_ms: int = 0
    ) -> None:
        """Publish a trigger, and tell every master; the connector (type, id) is made where it is missing."""
        await make_workflow(self.pool, workflow)
        named = {}
        if connector[1]:
            if not await self.pool.fetchval("select count(*) from connectors where id = $1", connector[1]):
                about = {"type": connector[0], "name": connector[1], "secret": b"", "by": "u"}
                await connectors.create_connector(self.pool, "org_a", connector[1], **about)  # type: ignore[arg-type]
                await self.credential(connector[1], self.credential_of)
            named = {"connector": {"type": connector[0], "id": connector[1]}}
        self.rows[workflow] = record(
            workflow, kind, {**payload, **named}, since_ms=since_ms or time.time_ns() // 10**6
        )  # fmt: skip
        for master in self.masters:
            master.table.apply(self.rows[workflow])

    async def runs(self) -> list[tuple[str, str]]:
        """Every run: workflow and text."""
        rows = await self.pool.fetch("select workflow_id, trigger_result from runs")
        return sorted((row["workflow_id"], row["trigger_result"][self.text]) for row in rows)

    def ran(self, *texts: str, workflow: str = "wf_1") -> Callable[[], Awaitable[bool]]:
        """Whether exactly these texts ran, whatever their order."""

        async def is_so() -> bool:
            return sorted(text for name, text in await self.runs() if name == workflow) == sorted(texts)

        return is_so

    async def change_masters(self, texts: list[str], *, after_steps: int, then_s: float) -> None:
        """Let a second master go on in the middle: all of these run, and none twice."""
        for _ in range(after_steps):
            self.master.clock += 10
            await self.master.step(self.master.source())
        assert 0 < len(await self.runs()) < len(texts), "the change comes in the middle"
        await leases.release(self.pool, self.master.source().name, self.master.owner)
        second = self.start("m2")
        await second.until(self.ran(*texts))
        await second.for_s(then_s)
        assert len(await self.runs()) == len(texts)

    async def problems(self, workflow: str) -> list[tuple[str, str]]:
        return [(one.reason, one.message) for one in await triggers.problems_of(self.pool, "org_a", workflow)]

    def told(self, workflow: str, words: str) -> Callable[[], Awaitable[bool]]:
        """Whether a trigger was told a problem in these words."""

        async def is_so() -> bool:
            return words in str(await self.problems(workflow))

        return is_so

    async def __aenter__(self) -> "Place":
        return self

    async def __aexit__(self, *_: object) -> None:
        for master in self.masters:
            await master.close()
        await self.broker.close()
        await self.pool.close()
        await self.service.stop()
