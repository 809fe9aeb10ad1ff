"""Webhooks that arrive together are accepted together: one transaction, one hand-over to the queue.

A flush begins when the last one ended and takes all that arrived meanwhile, so one call alone waits for one commit and
a hundred share it. Under load flushes keep a pace, so that more calls share each. What the database refuses for one
call's sake is tried again call by call, so that a neighbour's data never fails ours.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import asyncpg

from b3os import metrics
from b3os.handover import hand_over, started_by
from b3os.queue.broker import Broker
from b3os.store.admission import Outcome, Proposal, accept
from b3os.store.pool import Pool

#: Proposals in one transaction; more gains nothing.
BATCH_LIMIT = 200
#: A flush of so many calls is one under load: the next begins this long after it began.
BUSY, PACE_S = 4, 0.008


class Admission:
    """Collects proposals of many requests; `admit` returns when its own is decided."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._waiting: deque[tuple[Proposal, asyncio.Future[Outcome]]] = deque()
        self._flushing: asyncio.Task[None] | None = None

    async def admit(self, proposal: Proposal) -> Outcome:
        """Accept one proposal, and hand its run over; raises Unavailable when the database cannot be reached."""
        decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((proposal, decided))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
        return await decided

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            began = loop.time()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_LIMIT))]
            try:
                await self._decide(batch)
            except BaseException as error:
                for _, decided in batch:
                    if not decided.done():
                        decided.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            if len(batch) >= BUSY:
                await asyncio.sleep(began + PACE_S - loop.time())

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
        decided_now = zip(proposals, outcomes, strict=True)
        await hand_over(self._broker, [started_by(p, o) for p, o in decided_now if o.status == "accepted"])
        for (_, decided), outcome in zip(batch, outcomes, strict=True):
            metrics.ADMISSIONS.labels(outcome.status).inc()
            if not decided.done():
                decided.set_result(outcome)
