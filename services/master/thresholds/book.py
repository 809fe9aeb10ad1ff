"""What a source of triggers on state writes: runs, which triggers have fired, cursor and notices in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from b3os.store import edge_states, triggers
from b3os.store.edge_states import Marked
from b3os.store.pool import Connection, Pool
from b3os.store.trigger_notices import Sighting
from b3os.store.triggers import Name
from services.master.chain.book import Fate, StoredBook, Written
from services.master.chain.reading import Found
from services.master.sources.refusals import REASON


class EdgeBook(Protocol):
    """Where such a source reads and writes; tests have one in memory."""

    async def position(self, source: str) -> dict[str, Any] | None:
        """Return the stored cursor."""
        ...

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Return the undecided events up to a block."""
        ...

    async def states(self, source: str) -> dict[Name, Marked]:
        """Return what is known of the source's triggers."""
        ...

    async def write(
        self,
        cursor: tuple[str, int, dict[str, Any]],
        found: Sequence[Found],
        *,
        state: str,
        edges: Mapping[Name, Marked | None],
        fates: Sequence[Fate] = (),
    ) -> Written:
        """Admit events, remember states, decide fates and move the cursor, or nothing at all; raises StaleEpoch."""
        ...

    async def tell(self, wrong: Mapping[Name, str], cured: Collection[Name]) -> None:
        """Tell triggers why they cannot fire, and take back what others were told."""
        ...


class StoredEdgeBook:
    """The book in PostgreSQL."""

    def __init__(self, pool: Pool, book: StoredBook) -> None:
        self._pool = pool
        self._book = book

    async def position(self, source: str) -> dict[str, Any] | None:
        """Return the stored cursor."""
        return await self._book.position(source)

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Return the undecided events up to a block."""
        return await self._book.pending(source, until)

    async def states(self, source: str) -> dict[Name, Marked]:
        """Return what is known of the source's triggers."""
        return await edge_states.read(self._pool, source)

    async def write(
        self,
        cursor: tuple[str, int, dict[str, Any]],
        found: Sequence[Found],
        *,
        state: str,
        edges: Mapping[Name, Marked | None],
        fates: Sequence[Fate] = (),
    ) -> Written:
        """Admit events, remember states, decide fates and move the cursor, or nothing at all; raises StaleEpoch."""

        async def also(db: Connection) -> None:
            await edge_states.write(db, cursor[0], edges)

        return await self._book.write(cursor, found, state=state, fates=fates, also=also)

    async def tell(self, wrong: Mapping[Name, str], cured: Collection[Name]) -> None:
        """Tell triggers why they cannot fire, and take back what others were told."""
        if cured:
            await triggers.cure(self._pool, list(cured), REASON)
        if wrong:
            problems = [(name, REASON, why) for name, why in wrong.items()]
            await triggers.save_problems(self._pool, problems, [], is_complete=False)
