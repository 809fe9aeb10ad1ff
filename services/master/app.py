"""The master on one screen: keep the index fresh, listen to sources, admit events, hand runs to the queue.

Every master holds all triggers; the sources are leased, so that M masters share them. The 100 ms tick reads only what
changed. A tick never overlaps itself: a late one is counted and the next starts at once.
"""

import asyncio
import logging
import time

from b3os import metrics
from b3os.chain.chains import egress_of, load_chains
from b3os.errors import B3osError
from b3os.ids import new_id
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store import triggers
from b3os.store.pool import Pool
from services.master.admit import Admitter
from services.master.keeper import FAILURES, Keeper
from services.master.source import Family
from services.master.sources.chain import Chains
from services.master.sources.cron import Cron
from services.master.sources.prices import Prices

log = logging.getLogger("b3os.master")

TICK_S = 0.1


class Master:
    """One master process: its index, its leases, its sources."""

    def __init__(self, *, pool: Pool, settings: Settings, stop: asyncio.Event) -> None:
        self._pool = pool
        self._stop = stop
        self._broker = Broker(settings.redis_ops_url, lane_limit=settings.queue_limit)
        admitter = Admitter(pool, self._broker)
        chains = list(load_chains(settings.chains).values())
        self._http = GuardedClient(allow=egress_of(chains))
        self._families: tuple[Family, ...] = (
            Cron(admitter, pool),
            Chains(chains, http=self._http, admitter=admitter, pool=pool),
            Prices(settings, admitter=admitter, pool=pool),
        )
        self._keeper = Keeper(pool, new_id("master"), self._families)
        self._feed: triggers.FeedCursor | None = None

    async def start(self) -> None:
        """Read all active triggers once; afterwards only changes are read."""
        rows, self._feed = await triggers.read_all(self._pool)
        self._update(rows)
        log.info("index ready", extra={"triggers": len(rows)})

    async def serve(self) -> None:
        """Tick, and follow the sources whose leases are ours, until `stop`."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._tick_for_ever()), group.create_task(self._keeper.serve())]
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        """Give the leases back, so that another master goes on at once."""
        await self._keeper.close()
        await self._broker.close()
        await self._http.close()

    async def _tick_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._tick()
            except FAILURES as error:
                log.warning("tick failed", extra={"error": str(error)})
            spent = time.monotonic() - began
            metrics.TICK_SECONDS.observe(spent)
            if spent > TICK_S:
                metrics.TICKS_LATE.inc()
            await asyncio.sleep(max(0.0, TICK_S - spent))

    async def _tick(self) -> None:
        assert self._feed is not None, "start() reads the index first"
        rows, self._feed = await triggers.read_changes(self._pool, self._feed)
        if rows:
            self._update(rows)
            self._keeper.wake()

    def _update(self, rows: list[triggers.TriggerRow]) -> None:
        for row in rows:
            for family in self._families:
                try:
                    family.put(row)
                except B3osError as error:
                    # Publishing refuses these; a row from elsewhere must not stop the others.
                    about = {"org": row.org_id, "workflow": row.workflow_id}
                    log.error("trigger refused", extra={**about, "error": error.message})
        metrics.TRIGGERS.set(sum(len(family) for family in self._families))
