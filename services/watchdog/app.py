"""The watchdog on one screen: lead under a lease, look at what is due, judge it, store it."""

import asyncio
import logging
import random
import time

from asyncpg import InterfaceError, PostgresError

from b3os import metrics
from b3os.errors import B3osError
from b3os.health.schedule import Schedule
from b3os.health.verdicts import HEALTHY, WAIVED, Verdict, judge, next_in_s
from b3os.ids import new_id
from b3os.store import health, leases
from b3os.store.health import HealthResult
from b3os.store.pool import Pool
from services.watchdog.checks import Check, words_of

log = logging.getLogger("b3os.watchdog")

LEASE = "watchdog"
#: A spare may take half a minute to notice: nothing but the checks waits for it, and each renewal is a commit.
LEASE_S = 30
RENEW_S = 10.0
#: Results are stored this often, in one statement.
STORE_S = 10.0
TICK_S = 0.25
#: Checks that run at once; an action's probe may take this long.
AT_ONCE = 16
LOOK_S = 20.0
#: Components are looked at at once, everything else somewhere in this time.
SPREAD_S = 30.0
#: Waived checks are stored this often, so that the list of the last day has them.
WAIVED_S = 3600.0


class Watchdog:
    """One watchdog process; only the leader looks."""

    def __init__(self, pool: Pool, checks: list[Check], stop: asyncio.Event) -> None:
        self._pool = pool
        self._stop = stop
        self._owner = new_id("watchdog")
        self._checks = {check.id: check for check in checks}
        self._verdicts: dict[str, Verdict] = {}
        self._schedule: Schedule | None = None
        self._results: list[HealthResult] = []
        self._stored = time.monotonic() - STORE_S
        self._running: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def serve(self) -> None:
        """Lead when the lease is free, until `stop`."""
        renewed = -RENEW_S
        while not self._stop.is_set():
            now = time.monotonic()
            try:
                if now - renewed >= RENEW_S:
                    renewed = now
                    await self._lead(now)
                await self._flush()
            except (OSError, PostgresError, InterfaceError, B3osError) as error:
                log.warning("watchdog cannot reach the database", extra={"error": str(error)})
            if self._schedule is not None:
                for check_id in self._schedule.due(now):
                    self._start(self._checks[check_id], self._schedule)
            try:
                await asyncio.wait_for(self._stop.wait(), TICK_S)
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Stop looking and give the lease back."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._schedule is not None:
            await leases.release(self._pool, LEASE, self._owner)

    async def _lead(self, now: float) -> None:
        epoch = await leases.acquire(self._pool, LEASE, self._owner, LEASE_S)
        if epoch is None:
            self._schedule = None
            return
        if self._schedule is not None:
            return
        known = await health.latest_results(self._pool)
        self._verdicts = {r.target: Verdict(r.status, int(r.detail.get("failures", 0))) for r in known}
        self._schedule = Schedule(random.random)
        for check in self._checks.values():
            self._schedule.add(check.id, now, 0.0 if check.kind == "component" else SPREAD_S)
        log.info("leading", extra={"checks": len(self._checks)})

    def _start(self, check: Check, schedule: Schedule) -> None:
        task = asyncio.create_task(self._look(check, schedule))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _look(self, check: Check, schedule: Schedule) -> None:
        if check.look is None:
            self._note(check, Verdict(WAIVED), None, "")
            schedule.done(check.id, time.monotonic(), WAIVED_S)
            return
        async with self._slots:
            began, error = time.monotonic(), ""
            try:
                async with asyncio.timeout(LOOK_S):
                    await check.look()
            except asyncio.CancelledError:
                raise
            except Exception as problem:  # whatever a check raises is its result
                error = words_of(problem)
        took = (time.monotonic() - began) * 1000
        verdict = judge(self._verdicts.get(check.id, Verdict()), ok=not error)
        if verdict.status != self._verdicts.get(check.id, Verdict()).status:
            log.info("health changed", extra={"check": check.id, "status": verdict.status, "error": error})
        self._verdicts[check.id] = verdict
        self._note(check, verdict, took, error)
        schedule.done(check.id, time.monotonic(), next_in_s(verdict, check.interval_s))

    def _note(self, check: Check, verdict: Verdict, took_ms: float | None, error: str) -> None:
        metrics.HEALTH.labels(check.id).set(1 if verdict.status in (HEALTHY, WAIVED) else 0)
        detail = {"name": check.name, "failures": verdict.failures, "error": error, "waived": check.waived}
        self._results.append(HealthResult(check.id, check.kind, verdict.status, took_ms, detail))

    async def _flush(self) -> None:
        """Store what came in, as one statement, when it is time."""
        if not self._results or time.monotonic() - self._stored < STORE_S:
            return
        batch, self._results = self._results, []
        self._stored = time.monotonic()
        try:
            await health.add_results(self._pool, batch)
        except BaseException:
            self._results = (batch + self._results)[-1000:]
            raise
