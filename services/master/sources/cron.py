"""The cron source: due slots become events; the cursor is the last second that was fired through.

A trigger fires for no slot before it became active. Slots that a downtime or a failed poll left behind are due at the
next poll, and run as the trigger's `missed` says.
"""

import asyncio
import logging
import time
from collections.abc import Collection

from b3os import metrics
from b3os._speedups.cron import Schedule
from b3os.detect.cron_index import CronIndex, compute_window
from b3os.detect.schedules import parse_missed, parse_schedule, slot_text
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter, Event
from services.master.table import Table

SOURCE = "cron"
POLL_S = 0.1
RETRY_S = 0.5
#: Events in one transaction, or a little more: `missed: all` adds up to 100 a trigger.
BATCH = 10_000
#: How long one poll may compute windows of RRULEs.
REFILL_S = 0.05

log = logging.getLogger("b3os.master")


class Cron:
    """All cron triggers, and their one source: fires due slots under the lease `cron`."""

    name = SOURCE
    types = frozenset({"cronjob"})

    def __init__(self, admitter: Admitter, pool: Pool, table: Table) -> None:
        self._admitter = admitter
        self._pool = pool
        self._table = table
        self._index = CronIndex(0)
        self._epoch: int | None = None
        self._accepted_s = 0

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger; raises BadInput."""
        schedule, missed = parse_schedule(row.payload), parse_missed(row.payload)
        self._index.put(slot, schedule, since_s=-(-row.active_since_ms // 1000) - 1, missed=missed)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        self._index.drop(slot)

    def wanted(self) -> Collection["Cron"]:
        """Return the source itself: it is always wanted, so that its cursor moves on while nothing is scheduled."""
        return (self,)

    async def forget(self) -> None:
        """Arm the schedules anew when the lease is back."""
        self._epoch = None

    def failed(self, error: Exception) -> float:
        """Wait a little: the slots stay due."""
        return RETRY_S

    async def poll(self, epoch: int) -> float:
        """Fire everything due; raises StaleEpoch when another master took over."""
        now_s = int(time.time())
        await self._fire(epoch, now_s)
        await self._refill()
        return POLL_S if self._index.through_s >= now_s else 0.0

    async def _fire(self, epoch: int, now_s: int) -> None:
        if epoch != self._epoch:
            cursor = await read_cursor(self._pool, SOURCE) or {}
            self._accepted_s = int(cursor.get("firedThrough", 0))
            self._index.rearm(self._accepted_s)
            self._epoch = epoch
        due = [(slot_s, self._table.row(slot)) for slot_s, slot in self._index.due(now_s, BATCH)]
        events = [slot_event(row, slot_s) for slot_s, row in due if row is not None]
        through_s = self._index.through_s
        if events:
            metrics.MATCHES.labels(SOURCE).inc(len(events))
            try:
                await self._admitter.admit(events, (SOURCE, epoch, {"firedThrough": through_s}))
            except BaseException:
                self._index.rearm(self._accepted_s)  # nothing was accepted: the slots are due again
                raise
        self._accepted_s = through_s

    async def _refill(self) -> None:
        """Compute windows on a thread, the urgent first; what this poll has no time for comes with the next."""
        began = time.monotonic()
        for schedule, after_s in self._index.wanted():
            self._index.fill(*await asyncio.to_thread(_window, schedule, after_s))
            if time.monotonic() - began > REFILL_S:
                return


def _window(schedule: Schedule, after_s: int) -> tuple[Schedule, int, list[int], bool]:
    try:
        slots, is_final = compute_window(schedule, after_s)
    except Exception:  # publishing tried this rule; one that fails later must not stop the others
        log.exception("rrule failed", extra={"rrule": str(schedule.rule)})
        slots, is_final = [], True
    return schedule, after_s, slots, is_final


def slot_event(row: TriggerRow, slot_s: int) -> Event:
    """Make the event of a slot; workflow and slot are its identity."""
    return Event(row, f"cron:{slot_s}", {"triggeredAt": slot_text(slot_s)}, slot_s * 1000)
