"""What a chain's source writes: runs, cursor and notices in one transaction, and then word of it to live readers."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from b3os.errors import Unavailable
from b3os.store import trigger_notices as notices
from b3os.store.admission import Outcome
from b3os.store.leases import read_cursor
from b3os.store.pool import Connection, Pool
from b3os.store.trigger_notices import Settled, Sighting
from b3os.stream.events import RunEvent
from b3os.stream.publish import Publisher
from services.master.admit import Admitter, propose
from services.master.chain.reading import Found

log = logging.getLogger("b3os.master")

#: (organization, run, finalized or removed)
Fate = tuple[str, str, str]


class Written(msgspec.Struct, frozen=True):
    """What one step did: the outcome of each event, and the runs whose event's fate was decided."""

    outcomes: list[Outcome]
    settled: list[Settled]


class Book(Protocol):
    """Where a source reads and writes; the simulation has one in memory."""

    async def position(self, source: str) -> dict[str, Any] | None:
        """Return the stored cursor."""
        ...

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Return the undecided events up to a block."""
        ...

    async def write(
        self, cursor: tuple[str, int, dict[str, Any]], found: Sequence[Found], *, state: str, fates: Sequence[Fate] = ()
    ) -> Written:
        """Admit events, note or decide them, and move the cursor, or nothing at all; raises StaleEpoch."""
        ...


class StoredBook:
    """The book in PostgreSQL."""

    def __init__(self, pool: Pool, admitter: Admitter, publisher: Publisher) -> None:
        self._pool = pool
        self._admitter = admitter
        self._publisher = publisher

    async def position(self, source: str) -> dict[str, Any] | None:
        """Return the stored cursor."""
        return await read_cursor(self._pool, source)

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Return the undecided events up to a block."""
        return await notices.pending(self._pool, source, until)

    async def write(
        self,
        cursor: tuple[str, int, dict[str, Any]],
        found: Sequence[Found],
        *,
        state: str,
        fates: Sequence[Fate] = (),
        also: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> Written:
        """Admit events, note or decide them, and move the cursor, or nothing at all; raises StaleEpoch.

        `also` writes, in the same transaction, what else the source must not forget.
        """
        settled: list[Settled] = []

        async def note(db: Connection, outcomes: list[Outcome]) -> None:
            # An event that a run waits for completes a node: the run did not begin with it.
            begun = [(o, one) for one, o in zip(found, outcomes, strict=True) if o.run_id and not one.event.row.wait]
            seen = [(o.status, sighting(one, o.run_id)) for o, one in begun]
            fresh = [one for status, one in seen if status == "accepted"]
            known = [one for status, one in seen if status == "duplicate"]
            if fresh:
                await notices.add(db, cursor[0], fresh, state=state)
            if known:
                await notices.move(db, known)
            if fates:
                settled.extend(await notices.settle(db, fates))

        outcomes = await self._admitter.admit([one.event for one in found], cursor, also=also, then=note)
        for one in settled:
            await self._tell(one)
        return Written(outcomes, settled)

    async def _tell(self, settled: Settled) -> None:
        event = RunEvent(
            type=f"trigger_{settled.state}",
            run_id=settled.run_id,
            org_id=settled.org_id,
            workflow_id=settled.workflow_id,
            seq=0,
            timestamp=time.time_ns() // 1_000_000,
        )
        try:
            await self._publisher.tell_live(event)
        except Unavailable as error:
            # The run shows it; only a reader who is there right now misses it.
            log.warning("notice not told", extra={"run": settled.run_id, "error": error.message})


def sighting(one: Found, run_id: str) -> Sighting:
    """Return where the event of a run was seen."""
    return Sighting(one.event.row.org_id, run_id, one.block, one.block_hash, one.tx)


def run_of(one: Found) -> tuple[str, str]:
    """Return organization and id of the run that an event starts, or started."""
    return one.event.row.org_id, propose(one.event).run_id
