"""The cron source: due slots become events; the cursor is the last second that was fired through."""

import logging
import time
from collections.abc import Collection

from b3os import metrics
from b3os.detect.cron_index import CronIndex
from b3os.detect.schedules import parse_schedule, slot_text
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter, Event

SOURCE = "cron"
POLL_S = 0.1
RETRY_S = 0.5

log = logging.getLogger("b3os.master")


class Cron:
    """All cron triggers, and their one source: fires due slots under the lease `cron`."""

    name = SOURCE

    def __init__(self, admitter: Admitter, pool: Pool) -> None:
        self._admitter = admitter
        self._pool = pool
        self._index: CronIndex[TriggerRow] = CronIndex()
        self._epoch: int | None = None

    def __len__(self) -> int:
        return len(self._index)

    def put(self, row: TriggerRow) -> None:
        """Add, replace or remove a trigger, as its row says; raises BadInput."""
        key = (row.workflow_id, row.node_id)
        self._index.drop(key)
        if row.active and row.type == "cronjob":
            self._index.put(key, parse_schedule(row.payload), row, int(time.time()))

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
        await self._fire(epoch, int(time.time()))
        return POLL_S

    async def _fire(self, epoch: int, now_s: int) -> None:
        if epoch != self._epoch:
            cursor = await read_cursor(self._pool, SOURCE) or {}
            self._index.rearm(int(cursor.get("firedThrough", now_s)))
            self._epoch = epoch
        due = self._index.due(now_s)
        # After a take-over slots from before a trigger was published come up: they are not its own.
        events = [slot_event(row, slot) for slot, row in due if slot * 1000 >= row.active_since_ms]
        if not events:
            return
        metrics.MATCHES.labels(SOURCE).inc(len(events))
        try:
            await self._admitter.admit(events, (SOURCE, epoch, {"firedThrough": now_s}))
        except BaseException:
            self._index.rearm(now_s - 1)  # nothing was accepted: the slots are due again
            raise


def slot_event(row: TriggerRow, slot_s: int) -> Event:
    """Make the event of a slot; workflow and slot are its identity."""
    return Event(row, f"cron:{slot_s}", {"triggeredAt": slot_text(slot_s)}, slot_s * 1000)
