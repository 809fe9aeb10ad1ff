"""The 100 ms tick: what changed in the database goes into the table, and a page of the slow comparison with it.

A tick never overlaps itself; one that did not end inside its interval is counted by the part that took longest, and the
next starts at once. A tick that fails is tried again: the cursor moves only with the rows.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from b3os import metrics
from b3os.store import triggers
from b3os.store.pool import Pool
from services.master.crosscheck import CrossCheck
from services.master.keeper import FAILURES
from services.master.table import Table

log = logging.getLogger("b3os.master")

TICK_S = 0.1
#: A batch that is larger is why its tick is late.
LARGE_BATCH = 5000


class Refresh:
    """Keeps a table like the database. `wake` is called when something changed."""

    def __init__(self, pool: Pool, table: Table, wake: Callable[[], None]) -> None:
        self._pool = pool
        self._table = table
        self._wake = wake
        self._cursor: triggers.FeedCursor | None = None
        self._types: set[str] = set()
        self._read_at = time.monotonic()
        self.check = CrossCheck(pool, table, time.monotonic())
        metrics.FEED_LAG.set_function(lambda: time.monotonic() - self._read_at)

    async def start(self) -> None:
        """Read all active triggers once; afterwards only changes are read."""
        began = time.monotonic()
        self._cursor = await triggers.read_all(self._pool, self._take)
        await self._tell(is_complete=True)
        self._read_at = time.monotonic()
        log.info("index ready", extra={"triggers": len(self._table), "seconds": round(time.monotonic() - began, 2)})

    def _take(self, records: bytes) -> None:
        self._table.apply(records)

    async def serve(self) -> None:
        """Tick until cancelled."""
        while True:
            began = time.monotonic()
            try:
                await self.tick()
            except FAILURES as error:
                log.warning("tick failed", extra={"error": str(error)})
            spent = time.monotonic() - began
            metrics.TICK_SECONDS.observe(spent)
            await asyncio.sleep(max(0.0, TICK_S - spent))

    async def tick(self) -> int:
        """Take what changed; returns how many triggers did."""
        assert self._cursor is not None, "start() reads the index first"
        began = time.monotonic()
        records, cursor = await triggers.read_changes(self._pool, self._cursor)
        read = time.monotonic()
        changed = len(self._table.apply(records)) if records else 0
        self._cursor, self._read_at = cursor, read
        applied = time.monotonic()
        if changed:
            metrics.TRIGGER_CHANGES.inc(changed)
            self._wake()
        await self.check.step(cursor, applied)
        await self._tell(is_complete=False)
        self._account(changed, feed=read - began, apply=applied - read, check=time.monotonic() - applied)
        return changed

    def _account(self, changed: int, **parts: float) -> None:
        for part, seconds in parts.items():
            metrics.TICK_PART_SECONDS.labels(part).observe(seconds)
        spent = sum(parts.values())
        if spent > TICK_S:
            why = "batch" if changed > LARGE_BATCH else max(parts, key=lambda part: parts[part])
            metrics.TICKS_LATE.labels(why).inc()
            log.warning("tick late", extra={"why": why, "changed": changed, "ms": round(spent * 1000)})

    async def _tell(self, *, is_complete: bool) -> None:
        """Move the gauges, and store who came into the quarantine and who left it."""
        sizes = self._table.sizes()
        for kind in self._types - set(sizes):
            metrics.TRIGGERS.labels(kind).set(0)
        for kind, count in sizes.items():
            metrics.TRIGGERS.labels(kind).set(count)
        self._types |= set(sizes)
        metrics.QUARANTINED.set(len(self._table.quarantined))
        found, cured = self._table.take_news()
        if found or cured or is_complete:
            problems = [(one.name, one.reason, one.message) for one in found]
            await triggers.save_problems(self._pool, problems, cured, is_complete=is_complete)
