"""Group commit: results of all runs in hand go to Postgres in shared batches, events leave afterwards.

No timer: a flush starts as soon as the last one ended, and takes everything that arrived meanwhile. One run alone
waits for one commit; two hundred runs share it.
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

#: Rows in one statement; more gains nothing and holds the run rows longer.
BATCH_LIMIT = 500

Store = Callable[[Sequence[RunCommit]], Awaitable[list[int | None]]]
Waiting = tuple[RunCommit, list[RunEvent], "asyncio.Future[None]"]


class Publishes(Protocol):
    """What appends events to their runs' streams."""

    async def publish(self, events: Sequence[RunEvent]) -> None: ...


class CommitGroup:
    """Collects commits of many runs; `add` returns when its own is durable."""

    def __init__(self, store: Store, publisher: Publishes) -> None:
        self._store = store
        self._publisher = publisher
        self._queue: deque[Waiting] = deque()
        self._arrived = asyncio.Event()

    async def add(self, item: RunCommit, events: list[RunEvent]) -> None:
        """Make one run's commit durable, then publish its events; raises StaleEpoch when the lease is lost."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((item, events, done))
        self._arrived.set()
        await done

    async def serve(self) -> None:
        """Flush until cancelled; a failed flush fails the runs in it, whose leases then lapse."""
        me = asyncio.current_task()
        assert me is not None, "serve runs as a task"
        # A cancellation that arrives inside a flush may be swallowed by a client library there: ask for it.
        while not me.cancelling():
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LIMIT))]
                await self._flush(batch)

    async def _flush(self, batch: list[Waiting]) -> None:
        try:
            accepted = await self._store([item for item, _, _ in batch])
        except Exception as error:
            for _, _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        events: list[RunEvent] = []
        for (item, own, done), shift in zip(batch, accepted, strict=True):
            if shift is not None:
                told = {record.seq + 1 for record in item.records}
                events.extend(moved(event, shift) if event.seq in told else event for event in own)
            if done.done():
                continue
            if shift is not None:
                done.set_result(None)
            else:
                done.set_exception(StaleEpoch(f"run {item.run_id} has a newer owner"))
        if events:
            await self._publish(events)

    async def _publish(self, events: list[RunEvent]) -> None:
        try:
            await self._publisher.publish(events)
        except (OSError, B3osError) as error:
            # Events are a copy of what is stored: a reader resumes from Postgres.
            log.warning("events not published", extra={"count": len(events), "error": str(error)})


def moved(event: RunEvent, shift: int) -> RunEvent:
    """Give an event the number that its record was stored under."""
    return msgspec.structs.replace(event, seq=event.seq + shift) if shift else event
