"""The master on one screen: keep the index fresh, listen to sources, admit events, hand runs to the queue.

Every master holds all triggers; the sources (`cron`, `chain:<id>`) are leased, so that M masters share them. The
100 ms tick reads only what changed. A tick never overlaps itself: a late one is counted and the next starts at once.
"""

import asyncio
import contextlib
import logging
import time

from asyncpg import InterfaceError, PostgresError

from b3os import metrics
from b3os.chain.chains import egress_of, load_chains
from b3os.chain.rpc import Rpc
from b3os.detect.evm import EVM_TYPES
from b3os.detect.matcher import Matcher
from b3os.errors import B3osError, StaleEpoch
from b3os.ids import new_id
from b3os.net.http import GuardedClient
from b3os.queue.broker import Broker
from b3os.settings import Settings
from b3os.store import leases, triggers
from b3os.store.pool import Pool
from services.master import cron
from services.master.admit import Admitter
from services.master.chains import ChainSource
from services.master.cron import CronSource

log = logging.getLogger("b3os.master")

TICK_S = 0.1
LEASE_S = 6
RENEW_S = 2.0
FAILURES = (OSError, PostgresError, InterfaceError, B3osError)


class Master:
    """One master process: its index, its leases, its sources."""

    def __init__(self, *, pool: Pool, settings: Settings, stop: asyncio.Event) -> None:
        self._pool = pool
        self._stop = stop
        self._owner = new_id("master")
        self._broker = Broker(settings.redis_ops_url)
        admitter = Admitter(pool, self._broker)
        self._matcher: Matcher[triggers.TriggerRow] = Matcher()
        self._cron = CronSource(admitter, pool)
        chains = list(load_chains(settings.chains).values())
        self._http = GuardedClient(allow=egress_of(chains))
        self._chains = [
            ChainSource(Rpc(chain, self._http), matcher=self._matcher, admitter=admitter, pool=pool) for chain in chains
        ]
        self._since: dict[int, int] = {}
        self._feed: triggers.FeedCursor | None = None
        self._epochs: dict[str, int] = {}
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Read all active triggers once; afterwards only changes are read."""
        rows, self._feed = await triggers.read_all(self._pool)
        self._update(rows)
        await self._lease()
        log.info("index ready", extra={"triggers": len(rows)})

    async def serve(self) -> None:
        """Tick, lease and follow chains until `stop`."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._tick_for_ever()), group.create_task(self._lease_for_ever())]
            tasks += [group.create_task(self._follow(source)) for source in self._chains]
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        """Give the leases back, so that another master goes on at once."""
        for name in self._epochs:
            await leases.release(self._pool, name, self._owner)
        await self._broker.close()
        await self._http.close()

    async def _tick_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._tick(int(time.time()))
            except StaleEpoch:
                self._epochs.pop(cron.SOURCE, None)
            except FAILURES as error:
                log.warning("tick failed", extra={"error": str(error)})
            spent = time.monotonic() - began
            metrics.TICK_SECONDS.observe(spent)
            if spent > TICK_S:
                metrics.TICKS_LATE.inc()
            await asyncio.sleep(max(0.0, TICK_S - spent))

    async def _tick(self, now_s: int) -> None:
        assert self._feed is not None, "start() reads the index first"
        rows, self._feed = await triggers.read_changes(self._pool, self._feed)
        self._update(rows)
        await self._cron.tick(self._epochs.get(cron.SOURCE), now_s)

    def _update(self, rows: list[triggers.TriggerRow]) -> None:
        for row in rows:
            try:
                self._cron.put(row)
                self._matcher.put(row)
            except B3osError as error:
                # Publishing refuses these; a row from elsewhere must not stop the others.
                log.error("trigger refused", extra={"workflow": row.workflow_id, "error": error.message})
                continue
            if row.active and row.type in EVM_TYPES:
                chain = int(str(row.payload["chainId"]))
                self._since[chain] = min(self._since.get(chain, row.active_since_ms), row.active_since_ms)
                self._wake.set()
        metrics.TRIGGERS.set(len(self._cron) + len(self._matcher))

    async def _lease_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), RENEW_S)
            self._wake.clear()
            try:
                await self._lease()
            except FAILURES as error:
                log.warning("leases not renewed", extra={"error": str(error)})

    async def _lease(self) -> None:
        """Renew what is held, take what is free and wanted, give back what no trigger needs any more."""
        wanted = {cron.SOURCE, *(source.name for source in self._chains if source.is_wanted)}
        held = await leases.renew(self._pool, self._owner, list(self._epochs), LEASE_S)
        for name in held - wanted:
            await leases.release(self._pool, name, self._owner)
        self._epochs = {name: epoch for name, epoch in self._epochs.items() if name in held & wanted}
        for name in sorted(wanted - set(self._epochs)):
            epoch = await leases.acquire(self._pool, name, self._owner, LEASE_S)
            if epoch is not None:
                self._epochs[name] = epoch

    async def _follow(self, source: ChainSource) -> None:
        while True:
            epoch = self._epochs.get(source.name)
            pause = source.chain.poll_s
            if epoch is None or not source.is_wanted:
                source.forget()
            else:
                pause = await self._poll(source, epoch)
            await asyncio.sleep(pause)

    async def _poll(self, source: ChainSource, epoch: int) -> float:
        try:
            return await source.poll(epoch, self._since[source.chain.id])
        except StaleEpoch:
            self._epochs.pop(source.name, None)
            source.forget()
            return 0.0
        except (*FAILURES, ValueError) as error:
            pause = source.failed(error)
            log.warning("chain poll failed", extra={"chain": source.chain.id, "error": str(error)})
            return pause
