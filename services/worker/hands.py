"""Role: hold runs. Starts them, renews their lease, drops those that were lost, and lets all go at the end.

A worker's lease is one row, however many runs it holds. A run that leaves the hands by itself has ended, waits, or lost
its lease. One that raises, and one whose claim was stored while its answer was lost, is still ours in the database: a
renewal that finds it astray twice lets it go, so that a fault becomes no tight loop. A run that was just accepted is
held before it is ours: its first commit claims it, or tells that another has it.
"""

import asyncio
import logging
import time

import msgspec

from b3os import metrics
from b3os.logs import bind
from b3os.queue.servers import Working
from b3os.queue.task import Task
from b3os.store.runs import RunRow
from b3os.store.sweep import Ready
from services.worker.ports import EngineStore
from services.worker.runner import Runner

log = logging.getLogger("b3os.worker")

LEASE_S = 6.0
RENEW_S = 2.0


class Held(msgspec.Struct, frozen=True):
    """One run in hand."""

    row: RunRow
    work: Working
    going: "asyncio.Task[None]"


class Hands:
    """The runs that one worker holds, at most `limit`."""

    def __init__(self, store: EngineStore, runner: Runner, *, owner: str, limit: int) -> None:
        self._store = store
        self._runner = runner
        self._owner = owner
        self._limit = limit
        self._held: dict[str, Held] = {}
        #: Runs in hand that the database has called ours.
        self._ours: set[str] = set()
        self._busy_at = float("-inf")
        #: Runs that the last renewal found to be ours, and not in hand.
        self._astray: set[str] = set()
        #: Set whenever a run leaves.
        self.room_made = asyncio.Event()

    def room(self) -> int:
        """How many more runs may be held."""
        return self._limit - len(self._held)

    def working(self) -> list[Working]:
        """What is in hand, for those who look on."""
        return [held.work for held in self._held.values()]

    def row(self, run_id: str) -> RunRow:
        """The row of a run in hand."""
        return self._held[run_id].row

    def holds(self, run_id: str) -> bool:
        """Say whether a run is in hand."""
        return run_id in self._held

    def start(self, row: RunRow, task: Task) -> None:
        """Go on with a run; one that is here under an older epoch is dropped."""
        older = self._held.get(row.id)
        if older is not None:
            older.going.cancel()
        self._busy_at = asyncio.get_running_loop().time()
        work = Working(task.id, task.type, task.payload, task.lane, time.time_ns())
        going = asyncio.get_running_loop().create_task(self._go(row))
        self._held[row.id] = Held(row, work, going)
        if row.claim is None:
            self._ours.add(row.id)
        going.add_done_callback(lambda done: self._left(row.id, done))
        metrics.RUNS_ACTIVE.set(len(self._held))

    async def renew(self) -> list[Ready]:
        """Renew the lease; returns runs that were let go, to be queued again.

        A run that is not ours any more is stopped, since its next commit would be refused. What was started while the
        database answered is in neither list.
        """
        now = asyncio.get_running_loop().time()
        if self._held:
            self._busy_at = now
        if now - self._busy_at > LEASE_S:
            return []  # the lease lapses, and all that is astray with it
        before, ours = dict(self._held), set(self._ours)
        kept = {run_id for _, run_id in await self._store.renew(self._owner, LEASE_S)}
        for run_id in ours - kept:
            before[run_id].going.cancel()
        self._ours |= kept & set(self._held)
        astray = kept - set(before) - set(self._held)
        lost, self._astray = astray & self._astray, astray
        return await self._store.let_go(self._owner, sorted(lost)) if lost else []

    async def cancel(self, run_id: str) -> RunRow | None:
        """End a run that is in hand; None when it is not."""
        held = self._held.get(run_id)
        if held is None:
            return None
        await self._store.cancel(held.row.org_id, run_id)
        held.going.cancel()
        return held.row

    async def empty(self, grace_s: float) -> None:
        """Wait for the runs in hand, at most `grace_s`; then stop them where they are."""
        going = {held.going for held in self._held.values()}
        if going:
            _, late = await asyncio.wait(going, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _go(self, row: RunRow) -> None:
        bind(org=row.org_id, workflow=row.workflow_id, run=row.id)
        try:
            await self._runner.go_on(row)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The run is astray now: it is let go, and the next owner takes it.
            log.exception("run stopped")

    def _left(self, run_id: str, done: "asyncio.Task[None]") -> None:
        held = self._held.get(run_id)
        if held is not None and held.going is done:
            del self._held[run_id]
            self._ours.discard(run_id)
        metrics.RUNS_ACTIVE.set(len(self._held))
        self.room_made.set()
