"""Webhooks that arrive together are accepted together: one transaction, one hand-over to the queue.

No timer: a flush begins when the last one ended and takes all that arrived meanwhile, so one call alone waits for one
commit and a hundred share it. What the database refuses for one call's sake is tried again call by call, so that a
neighbour's data never fails ours.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

import asyncpg

from b3os import metrics
from b3os.errors import TooMany, Unavailable
from b3os.queue.broker import Broker, Task
from b3os.run.handover import TYPE, lane_of, payload_of
from b3os.store.admission import Outcome, Proposal, accept
from b3os.store.pool import Pool

log = logging.getLogger("b3os.inbound")

#: Proposals in one transaction; more gains nothing.
BATCH_LIMIT = 200
#: Flushes at once: while one waits for its commit, the next is written.
LANES = 2


class Admission:
    """Collects proposals of many requests; `admit` returns when its own is decided."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._waiting: deque[tuple[Proposal, asyncio.Future[Outcome]]] = deque()
        self._flushing: set[asyncio.Task[None]] = set()

    async def admit(self, proposal: Proposal) -> Outcome:
        """Accept one proposal, and hand its run over; raises Unavailable when the database cannot be reached."""
        decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((proposal, decided))
        if len(self._flushing) < LANES:
            task = asyncio.get_running_loop().create_task(self._flush())
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)
        return await decided

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._flushing, return_exceptions=True)

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_LIMIT))]
            try:
                await self._decide(batch)
            except BaseException as error:
                for _, decided in batch:
                    if not decided.done():
                        decided.set_exception(error)
                if not isinstance(error, Exception):
                    raise

    async def _decide(self, batch: Sequence[tuple[Proposal, "asyncio.Future[Outcome]"]]) -> None:
        proposals = [proposal for proposal, _ in batch]
        try:
            outcomes = await accept(self._pool, proposals)
        except asyncpg.DataError:
            if len(batch) == 1:
                raise
            for each in batch:
                try:
                    await self._decide([each])
                except asyncpg.DataError as error:
                    each[1].set_exception(error)
            return
        accepted = [(p, o) for p, o in zip(proposals, outcomes, strict=True) if o.status == "accepted"]
        await self._hand_over(accepted)
        for (_, decided), outcome in zip(batch, outcomes, strict=True):
            metrics.ADMISSIONS.labels(outcome.status).inc()
            if not decided.done():
                decided.set_result(outcome)

    async def _hand_over(self, accepted: Sequence[tuple[Proposal, Outcome]]) -> None:
        """Queue runs, or tell a worker that some wait for room; a queue that is down or full loses nothing."""
        try:
            if any(not outcome.is_queued for _, outcome in accepted):
                await self._broker.call_feeder()
            await self._broker.enqueue([run_task(p) for p, outcome in accepted if outcome.is_queued])
        except (Unavailable, TooMany) as error:
            log.warning("runs not queued", extra={"error": error.message})


def run_task(proposal: Proposal) -> Task:
    """Make the task that hands a run to a worker."""
    payload = payload_of(
        proposal.org_id,
        proposal.run_id,
        workflow_id=proposal.workflow_id,
        version=proposal.version,
        trigger=proposal.result,
    )
    return Task(proposal.run_id, TYPE, payload, lane_of(proposal.source))
