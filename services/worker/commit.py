"""Group commit: results of all runs in hand go to Postgres in shared batches, events leave afterwards.

A flush starts as soon as the last one ended, and takes everything that arrived meanwhile. One run alone waits for one
commit; two hundred runs share it. Under load flushes keep a pace, so that more runs share each. What is stored is told
to Redis while the next flush is under way.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from b3os.errors import B3osError, StaleEpoch
from b3os.store.runs import RunCommit
from b3os.stream.events import RunEvent

log = logging.getLogger("b3os.commit")

#: A flush of so many runs is one under load: the next begins this long after it began.
BUSY, PACE_S = 4, 0.008
#: Rows in one statement; more gains nothing and holds the run rows longer.
BATCH_LIMIT = 500

Store = Callable[[Sequence[RunCommit]], Awaitable[list[int | None]]]
Waiting = tuple[RunCommit, list[RunEvent], "asyncio.Future[None]"]


class Publishes(Protocol):
    """What appends events to their runs' streams."""

    async def publish(self, events: Sequence[RunEvent]) -> None: ...


class Claims(Protocol):
    """Who hears that a run's first commit decided who has it, and that one was let go: then in time to tell others."""

    def decided(self, run_id: str) -> None: ...
    def let_go(self) -> None: ...
    async def finish(self) -> None: ...


class CommitGroup:
    """Collects commits of many runs; `add` returns when its own is durable."""

    def __init__(self, store: Store, publisher: Publishes) -> None:
        self._store = store
        self._publisher = publisher
        self._queue: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._is_closing = False
        self._events: list[RunEvent] = []
        self._stored = asyncio.Event()
        self._is_over = False
        #: Set by who takes tasks.
        self.claims: Claims | None = None

    async def add(self, item: RunCommit, events: list[RunEvent]) -> None:
        """Make one run's commit durable, then publish its events; raises StaleEpoch when the lease is lost."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((item, events, done))
        self._arrived.set()
        await done

    def close(self) -> None:
        """Let `serve` end once everything is flushed and told."""
        self._is_closing = True
        self._arrived.set()

    async def serve(self) -> None:
        """Flush until it is closed; a failed flush fails the runs in it, whose leases then lapse."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            while self._queue or not self._is_closing:
                await self._arrived.wait()
                self._arrived.clear()
                while self._queue:
                    batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT))]
                    began = asyncio.get_running_loop().time()
                    await self._flush(batch)
                    if len(batch) >= BUSY:
                        await asyncio.sleep(began + PACE_S - asyncio.get_running_loop().time())
            self._is_over = True
            self._stored.set()

    async def _flush(self, batch: list[Waiting]) -> None:
        try:
            accepted = await self._store([item for item, _, _ in batch])
        except Exception as error:
            for _, _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        for (item, own, done), shift in zip(batch, accepted, strict=True):
            if shift is not None:
                told = {record.seq + 1 for record in item.records}
                self._events.extend(moved(event, shift) if event.seq in told else event for event in own)
            if item.claim is not None and self.claims is not None:
                self.claims.decided(item.run_id)
            if item.release and self.claims is not None:
                self.claims.let_go()
            if done.done():
                continue
            if shift is not None:
                done.set_result(None)
            else:
                done.set_exception(StaleEpoch(f"run {item.run_id} has a newer owner"))
        self._stored.set()

    async def _tell(self) -> None:
        while not self._is_over or self._events:
            await self._stored.wait()
            self._stored.clear()
            events, self._events = self._events, []
            if events:
                await self._told("events", self._publisher.publish(events))
            if self.claims is not None:
                await self._told("claims", self.claims.finish())

    async def _told(self, what: str, telling: Awaitable[None]) -> None:
        """Tell Redis: events are a copy of what is stored, and a claim that it does not hear of is told again."""
        try:
            await telling
        except (OSError, B3osError) as error:
            log.warning("not told", extra={"what": what, "error": str(error)})


def moved(event: RunEvent, shift: int) -> RunEvent:
    """Give an event the number that its record was stored under."""
    return msgspec.structs.replace(event, seq=event.seq + shift) if shift else event
