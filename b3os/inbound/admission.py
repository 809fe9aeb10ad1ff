"""Webhooks that arrive together are accepted together: one statement, one hand-over to the queue.

A flush begins when the last one ended and takes all that arrived meanwhile, so one call alone waits for one commit and
a hundred share it. Under load flushes keep a pace, so that more calls share each. What the database refuses for one
call's sake is tried again call by call, so that a neighbour's data never fails ours. Neither a queue that does not
answer nor a workflow whose limits are locked holds the next flush up.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

import asyncpg

from b3os import metrics
from b3os.handover import hand_over, started_by
from b3os.queue.broker import Broker
from b3os.store.admission import UNSETTLED, Outcome, Proposal, accept, open_runs
from b3os.store.pool import Pool

#: Proposals in one transaction; more gains nothing.
BATCH_LIMIT = 200
#: A flush of so many calls is one under load: the next begins this long after it began.
BUSY, PACE_S = 4, 0.008


Waiting = tuple[Proposal, "asyncio.Future[Outcome]"]


class Admission:
    """Collects proposals of many requests; `admit` returns when its own is decided."""

    def __init__(self, pool: Pool, broker: Broker) -> None:
        self._pool = pool
        self._broker = broker
        self._waiting: deque[Waiting] = deque()
        self._flushing: asyncio.Task[None] | None = None
        #: What follows from flushes, and holds none up.
        self._beside: set[asyncio.Task[None]] = set()

    async def admit(self, proposal: Proposal) -> Outcome:
        """Accept one proposal; its run is handed over. Raises Unavailable when the database cannot be reached."""
        decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((proposal, decided))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
        return await decided

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)
        while self._beside:
            await asyncio.gather(*self._beside, return_exceptions=True)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            began = loop.time()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_LIMIT))]
            await self._decide(batch)
            if len(batch) >= BUSY:
                await asyncio.sleep(began + PACE_S - loop.time())

    async def _decide(self, batch: Sequence[Waiting]) -> None:
        """Start what one statement can; what has limits, or was there before, is settled beside the next flush."""
        first: dict[tuple[str, bytes], Waiting] = {}
        rest = [one for one in batch if first.setdefault((one[0].org_id, one[0].receipt), one) is not one]
        starting = list(first.values())
        try:
            outcomes = await open_runs(self._pool, [proposal for proposal, _ in starting])
        except asyncpg.DataError:
            rest = list(batch)
        except BaseException as error:
            fail(batch, error)
            if not isinstance(error, Exception):
                raise
            return
        else:
            rest += [one for one, outcome in zip(starting, outcomes, strict=True) if outcome.status in UNSETTLED]
            self._answer(
                [(one, found) for one, found in zip(starting, outcomes, strict=True) if found.status not in UNSETTLED]
            )
        if rest:
            self._start(self._settle(rest))

    async def _settle(self, batch: Sequence[Waiting]) -> None:
        try:
            outcomes = await accept(self._pool, [proposal for proposal, _ in batch])
        except asyncpg.DataError as error:
            if len(batch) == 1:
                fail(batch, error)
                return
            for one in batch:
                await self._settle([one])
        except BaseException as error:
            fail(batch, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._answer(list(zip(batch, outcomes, strict=True)))

    def _answer(self, decided: Sequence[tuple[Waiting, Outcome]]) -> None:
        """Tell the callers, and hand the runs over: what is accepted is stored, whether the queue is there or not."""
        started = []
        for (proposal, caller), outcome in decided:
            metrics.ADMISSIONS.labels(outcome.status).inc()
            if outcome.status == "accepted":
                started.append(started_by(proposal, outcome))
            if not caller.done():
                caller.set_result(outcome)
        if started:
            self._start(hand_over(self._broker, started))

    def _start(self, act: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


def fail(batch: Sequence[Waiting], error: BaseException) -> None:
    """Tell callers why theirs could not be decided."""
    for _, caller in batch:
        if not caller.done():
            caller.set_exception(error)
