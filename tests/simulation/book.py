"""The book of a chain's source in memory: the contract of PostgreSQL's, for histories by the thousand."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from b3os.errors import StaleEpoch
from b3os.store.admission import Outcome
from b3os.store.edge_states import Marked
from b3os.store.trigger_notices import Settled, Sighting
from b3os.store.triggers import Name
from services.master.chain.book import Fate, Written, run_of, sighting
from services.master.chain.reading import Found


class MemoryBook:
    """Runs by id, their notices in order, one cursor; `epoch` is the newest lease."""

    def __init__(self) -> None:
        self.epoch = 1
        self.runs: dict[str, Found] = {}
        self.started: list[str] = []
        self.notices: dict[str, list[str]] = {}
        self._states: dict[str, str] = {}
        self._sightings: dict[str, Sighting] = {}
        self._position: bytes | None = None

    @property
    def sightings(self) -> dict[str, tuple[int, str]]:
        """Where the events of runs were seen last: block and hash."""
        return {run: (one.block, one.block_hash) for run, one in self._sightings.items()}

    async def position(self, source: str) -> dict[str, Any] | None:
        """Return the stored cursor, as new as from a database."""
        return None if self._position is None else msgspec.json.decode(self._position)

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Return the undecided events up to a block."""
        return self.undecided(until)

    def undecided(self, until: int) -> list[Sighting]:
        """The same, for who asks at the end."""
        return [s for s in self._sightings.values() if self._states[s.run_id] == "pending" and s.block <= until]

    async def write(
        self, cursor: tuple[str, int, dict[str, Any]], found: Sequence[Found], *, state: str, fates: Sequence[Fate] = ()
    ) -> Written:
        """Admit, note and decide at once, or raise StaleEpoch."""
        if cursor[1] != self.epoch:
            raise StaleEpoch("the lease has moved on")
        self._position = msgspec.json.encode(cursor[2])
        outcomes = [self._admit(one, state) for one in found]
        return Written(outcomes, [one for fate in fates for one in self._settle(fate)])

    def _admit(self, one: Found, state: str) -> Outcome:
        _, run_id = run_of(one)
        is_known = run_id in self.runs
        if not is_known:
            self.runs[run_id] = one
            self.started.append(run_id)
            self._states[run_id] = state
            self.notices[run_id] = []
        if not is_known or self._states[run_id] == "pending":
            self._sightings[run_id] = sighting(one, run_id)
        return Outcome(run_id, "duplicate" if is_known else "accepted")

    def _settle(self, fate: Fate) -> list[Settled]:
        org_id, run_id, state = fate
        before = self._states.get(run_id)
        if before != "pending" and (before, state) != ("removed", "finalized"):
            return []
        self._states[run_id] = state
        self.notices[run_id].append(state)
        return [Settled(org_id, run_id, state, self.runs[run_id].event.row.workflow_id)]


class MemoryEdgeBook:
    """The same of a source of triggers on state, with what is known of each trigger."""

    def __init__(self) -> None:
        self.inner = MemoryBook()
        self.edges: dict[Name, bytes] = {}
        self.problems: dict[Name, str] = {}
        self.writes = 0
        #: The next write is done, and its answer does not arrive.
        self.loses_answer = False

    async def position(self, source: str) -> dict[str, Any] | None:
        """Return the stored cursor."""
        return await self.inner.position(source)

    async def pending(self, source: str, until: int) -> list[Sighting]:
        """Return the undecided events up to a block."""
        return await self.inner.pending(source, until)

    async def states(self, source: str) -> dict[Name, Marked]:
        """Return what was stored, as new as from a database."""
        return {name: msgspec.json.decode(stored, type=Marked) for name, stored in self.edges.items()}

    async def write(
        self,
        cursor: tuple[str, int, dict[str, Any]],
        found: Sequence[Found],
        *,
        state: str,
        edges: Mapping[Name, Marked | None],
        fates: Sequence[Fate] = (),
    ) -> Written:
        """Do everything at once, or raise StaleEpoch."""
        written = await self.inner.write(cursor, found, state=state, fates=fates)
        self.writes += 1
        for name, marked in edges.items():
            if marked is None:
                self.edges.pop(name, None)
            else:
                self.edges[name] = msgspec.json.encode(marked)
        if self.loses_answer:
            self.loses_answer = False
            raise ConnectionError("the connection was lost")
        return written

    async def tell(self, wrong: Mapping[Name, str], cured: Collection[Name]) -> None:
        """Remember what triggers were told."""
        self.problems.update(wrong)
        for name in cured:
            self.problems.pop(name, None)
