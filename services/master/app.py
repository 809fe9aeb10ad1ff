"""The master on one screen: keep the index fresh, fire what is due, admit it, hand runs to the queue.

Every master holds the whole index; the cron source is leased, so that one of them fires. The 100 ms tick reads only
what changed. A tick never overlaps itself: a late one is counted and the next starts at once.
"""

import asyncio
import logging
import time

from asyncpg import InterfaceError, PostgresError

from b3os import metrics
from b3os.detect.cron_index import CronIndex
from b3os.detect.schedules import parse_schedule, slot_text
from b3os.errors import B3osError, BadInput, StaleEpoch, Unavailable
from b3os.ids import new_id, receipt_key, run_id_for
from b3os.queue.broker import Broker, Task
from b3os.settings import Settings
from b3os.store import leases, triggers
from b3os.store.admission import Proposal, accept
from b3os.store.pool import Pool

log = logging.getLogger("b3os.master")

TICK_S = 0.1
LEASE_S = 6
RENEW_S = 2.0
SOURCE = "cron"


class Master:
    """One master process: its index and its lease."""

    def __init__(self, *, pool: Pool, settings: Settings, stop: asyncio.Event) -> None:
        self._pool = pool
        self._stop = stop
        self._owner = new_id("master")
        self._broker = Broker(settings.redis_ops_url)
        self._cron: CronIndex[triggers.TriggerRow] = CronIndex()
        self._feed: triggers.FeedCursor | None = None
        self._epoch: int | None = None

    async def start(self) -> None:
        """Read all active triggers once; afterwards only changes are read."""
        rows, self._feed = await triggers.read_all(self._pool)
        self._update(rows)
        await self._lease()
        log.info("index ready", extra={"triggers": len(rows)})

    async def serve(self) -> None:
        """Tick until `stop`."""
        renewed = time.monotonic()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                if began - renewed > RENEW_S:
                    renewed = began
                    await self._lease()
                await self._tick(int(time.time()))
            except StaleEpoch:
                self._epoch = None
            except (OSError, PostgresError, InterfaceError, B3osError) as error:
                log.warning("tick failed", extra={"error": str(error)})
            spent = time.monotonic() - began
            metrics.TICK_SECONDS.observe(spent)
            if spent > TICK_S:
                metrics.TICKS_LATE.inc()
            await self._pause(max(0.0, TICK_S - spent))

    async def close(self) -> None:
        """Give the lease back, so that another master goes on at once."""
        if self._epoch is not None:
            await leases.release(self._pool, SOURCE, self._owner)
        await self._broker.close()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _tick(self, now_s: int) -> None:
        assert self._feed is not None, "start() reads the index first"
        rows, self._feed = await triggers.read_changes(self._pool, self._feed)
        self._update(rows)
        if self._epoch is None:
            return
        due = self._cron.due(now_s)
        if due:
            metrics.MATCHES.labels(SOURCE).inc(len(due))
            try:
                await self._admit([propose(row, slot) for slot, row in due], now_s)
            except BaseException:
                self._cron.rearm(now_s - 1)  # nothing was accepted: the slots are due again
                raise

    async def _admit(self, proposals: list[Proposal], now_s: int) -> None:
        assert self._epoch is not None
        outcomes = await accept(self._pool, proposals, cursor=(SOURCE, self._epoch, {"firedThrough": now_s}))
        tasks = [run_task(p) for p, o in zip(proposals, outcomes, strict=True) if o.status == "accepted"]
        for outcome in outcomes:
            metrics.ADMISSIONS.labels(outcome.status).inc()
        if tasks:
            try:
                await self._broker.enqueue(tasks)
            except Unavailable as error:
                # The sweeper finds runs that nobody holds: nothing is lost.
                log.warning("queue unreachable", extra={"error": error.message})

    def _update(self, rows: list[triggers.TriggerRow]) -> None:
        now_s = int(time.time())
        for row in rows:
            key = (row.workflow_id, row.node_id)
            if not row.active or row.type != "cronjob":
                self._cron.drop(key)
                continue
            try:
                self._cron.put(key, parse_schedule(row.payload), row, now_s)
            except BadInput as error:
                # Publishing refuses these; a row from elsewhere must not stop the others.
                log.error("trigger refused", extra={"workflow": row.workflow_id, "error": error.message})
        metrics.TRIGGERS.set(len(self._cron))

    async def _lease(self) -> None:
        epoch = await leases.acquire(self._pool, SOURCE, self._owner, LEASE_S)
        if epoch is not None and epoch != self._epoch:
            cursor = await leases.read_cursor(self._pool, SOURCE) or {}
            self._cron.rearm(int(cursor.get("firedThrough", time.time())))
        self._epoch = epoch


def propose(row: triggers.TriggerRow, slot_s: int) -> Proposal:
    """Make the proposal of a slot; workflow and slot are its identity, so a replay finds its own run."""
    key = receipt_key(row.workflow_id, row.node_id, f"cron:{slot_s}")
    return Proposal(
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        version=row.version,
        node_id=row.node_id,
        receipt=key,
        run_id=run_id_for(key),
        source="cronjob",
        result={"triggeredAt": slot_text(slot_s)},
        now_ms=slot_s * 1000,
    )


def run_task(proposal: Proposal) -> Task:
    """Make the task that hands a run to a worker."""
    payload = f'{{"orgId":"{proposal.org_id}","runId":"{proposal.run_id}"}}'.encode()
    return Task(id=proposal.run_id, type="wf:run", payload=payload, lane="default")
