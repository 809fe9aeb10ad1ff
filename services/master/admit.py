"""From matches to runs: one transaction for receipts, runs and the source's cursor, then the queue.

A trigger row with a wait target completes its waiting node instead; both go the same way through here.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os.errors import TooMany, Unavailable
from b3os.ids import receipt_key, run_id_for
from b3os.queue.broker import Broker, Task
from b3os.run.handover import TYPE, lane_of, payload_of
from b3os.store.admission import Outcome, Proposal, accept
from b3os.store.pool import Connection, Pool
from b3os.store.triggers import TriggerRow

log = logging.getLogger("b3os.master")

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
        accepted = [(p, o) for p, o in zip(proposals, outcomes, strict=True) if o.status in STARTED]
        for outcome in outcomes:
            metrics.ADMISSIONS.labels(outcome.status).inc()
        try:
            # What has no room in its organization's window waits in the database; a worker will ask for it.
            if any(not o.is_queued for _, o in accepted):
                await self._broker.call_feeder()
            await self._broker.enqueue([run_task(p) for p, o in accepted if o.is_queued])
        except (Unavailable, TooMany) as error:
            # The sweeper finds runs that nobody holds: nothing is lost.
            log.warning("runs not queued", extra={"error": error.message})
        return outcomes


def run_task(proposal: Proposal) -> Task:
    """Make the task that hands a run to a worker, with the trigger's data if that is small."""
    if proposal.wait is not None:  # the run has a trigger already, and it was another
        return Task(proposal.run_id, TYPE, payload_of(proposal.org_id, proposal.run_id), lane_of(proposal.source))
    payload = payload_of(
        proposal.org_id,
        proposal.run_id,
        workflow_id=proposal.workflow_id,
        version=proposal.version,
        trigger=proposal.result,
    )
    return Task(proposal.run_id, TYPE, payload, lane_of(proposal.source))
