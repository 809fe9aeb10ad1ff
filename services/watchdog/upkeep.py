"""Upkeep of the store, by whoever holds its lease: partitions are made ahead, what is older than the settings goes.

Small batches with a breath between them: removal must never be what a run waits for.
"""

import asyncio
import logging
from datetime import timedelta

from asyncpg import InterfaceError, PostgresError

from b3os import metrics
from b3os.errors import B3osError
from b3os.ids import new_id
from b3os.settings import Settings
from b3os.store import deliveries, leases, retention, waits
from b3os.store.pool import Pool

log = logging.getLogger("b3os.upkeep")

LEASE = "upkeep"
LEASE_S = 60
PERIOD_S = 600.0
BATCH = 500
BREATH_S = 0.05
AHEAD_DAYS = 3


class Upkeep:
    """The upkeep role of one watchdog process."""

    def __init__(self, pool: Pool, settings: Settings, stop: asyncio.Event, *, batch: int = BATCH) -> None:
        self._pool = pool
        self._keep = settings
        self._stop = stop
        self._batch = batch
        self._owner = new_id("upkeep")

    async def serve(self) -> None:
        """Go round every ten minutes until `stop`."""
        while not self._stop.is_set():
            try:
                await self.round()
            except (OSError, PostgresError, InterfaceError, B3osError) as error:
                log.warning("upkeep not done", extra={"error": str(error)})
            await self._pause(PERIOD_S)

    async def round(self) -> dict[str, int] | None:
        """Do what is due; returns what was made and removed, or None while another process has the lease."""
        if not await self._hold():
            return None
        try:
            done = await self._tidy()
        finally:
            await leases.release(self._pool, LEASE, self._owner)
        for what, count in done.items():
            metrics.UPKEEP.labels(what).inc(count)
        if any(done.values()):
            log.info("upkeep done", extra=done)
        return done

    async def _tidy(self) -> dict[str, int]:
        day = await retention.today(self._pool)
        keep = self._keep
        old_runs, old_health, old_audit, old_prices = (
            day - timedelta(days=days)
            for days in (keep.keep_runs_days, keep.keep_health_days, keep.keep_audit_days, keep.keep_prices_days)
        )
        done = {
            "made": await retention.ensure_partitions(self._pool, AHEAD_DAYS) or 0,
            "runs": 0,
            "receipts": 0,
            "deliveries": 0,
        }
        for name, remove in (
            ("runs", retention.remove_runs),
            ("receipts", retention.remove_receipts),
            ("deliveries", deliveries.remove_deliveries),
        ):
            removed = self._batch
            while removed == self._batch and not self._stop.is_set() and await self._hold():
                removed = await remove(self._pool, old_runs, self._batch)
                done[name] += removed
                await self._pause(BREATH_S)
        first = await retention.first_day(self._pool, old_runs)
        done["dropped"] = 0
        by_day = (
            ("node_runs", first),
            ("health_results", old_health),
            ("api_audit", old_audit),
            ("prices", old_prices),
        )
        for table, before in by_day:
            done["dropped"] += await retention.drop_partitions(self._pool, table, before) or 0
        done["waits"] = await waits.remove_waits(self._pool)
        done["workers"] = await retention.remove_workers(self._pool)
        return done

    async def _hold(self) -> bool:
        return await leases.acquire(self._pool, LEASE, self._owner, LEASE_S) is not None

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
