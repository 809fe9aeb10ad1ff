"""From matches to runs: one transaction for receipts, runs and the source's cursor, then the queue.

A trigger row with a wait target completes its waiting node instead; both go the same way through here.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os.handover import hand_over, started_by
from b3os.ids import receipt_key, run_id_for
from b3os.queue.broker import Broker
from b3os.store.admission import Outcome, Proposal, accept
from b3os.store.pool import Connection, Pool
from b3os.store.triggers import TriggerRow

#: Outcomes after which a worker must take the run up.
STARTED = ("accepted", "resumed")

#: Source name, the lease's epoch, the new position.
Cursor = tuple[str, int, dict[str, Any]]


class Event(msgspec.Struct, frozen=True):
    """A matched event: whose trigger, what makes it the same event when it is seen again, and its result."""

    row: TriggerRow
    identity: str
    result: dict[str, Any]
    time_ms: int


def propose(event: Event) -> Proposal:
    """Make the proposal of an event; the run id follows from the event, so a replay finds its own run."""
    row = event.row
    key = receipt_key(row.workflow_id, row.node_id, event.identity)
    return Proposal(
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        version=row.version,
        node_id=row.node_id,
        receipt=key,
        run_id=run_id_for(key) if row.wait is None else row.wait.run_id,
        source=row.type,
        result=event.result,
        now_ms=event.time_ms,
        wait=row.wait,
    )


class Admitter:
    """Admits events; the only place of the master that creates runs."""

    def __init__(
        self, pool: Pool, broker: Broker, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._pool = pool
        self._broker = broker
        self.now_ms = now_ms

    async def admit(
        self,
        events: Sequence[Event],
        cursor: Cursor | None,
        *,
        also: Callable[[Connection], Awaitable[None]] | None = None,
        then: Callable[[Connection, list[Outcome]], Awaitable[None]] | None = None,
    ) -> list[Outcome]:
        """Accept events and move the cursor in one transaction, then enqueue; raises StaleEpoch.

        `also` writes, in the same transaction, what else the source must not forget, `then` what follows from the
        outcomes.
        """
        proposals = [propose(event) for event in events]
        outcomes = await accept(self._pool, proposals, cursor=cursor, also=also, then=then)
        for outcome in outcomes:
            metrics.ADMISSIONS.labels(outcome.status).inc()
        decided = zip(proposals, outcomes, strict=True)
        await hand_over(self._broker, [started_by(p, o) for p, o in decided if o.status in STARTED])
        return outcomes
