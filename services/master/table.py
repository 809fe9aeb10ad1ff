"""All triggers of this master: rows in C memory, their patterns in the index, the others told to their families.

A trigger has one slot, the same everywhere. What cannot be read is quarantined: it listens to nothing, is counted by
reason, logged once with its place, and stored for the API to tell; it never stops the others. A row that changes leaves
the quarantine.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os._speedups.trigger_index import TriggerIndex
from b3os._speedups.trigger_rows import Changes, TriggerRows
from b3os.errors import BadInput
from b3os.store.triggers import Name, TriggerRow
from b3os.store.waits import WaitTarget
from services.master.source import Family

log = logging.getLogger("b3os.master")

#: Rows that are kept as objects; the oldest leave first.
READY_ROWS = 8192
#: Quarantined triggers that are named; more are only counted.
NAMED = 10_000

_payload = msgspec.json.Decoder(dict[str, Any])
_wait = msgspec.json.Decoder(tuple[str, str, str])


class Quarantined(msgspec.Struct, frozen=True):
    """A trigger that cannot be listened to, and why. `reason` is pattern, payload or trigger."""

    name: Name
    reason: str
    message: str


class Table:
    """Slots of triggers, and who listens to them."""

    def __init__(self) -> None:
        self.index = TriggerIndex()
        self.quarantined: dict[int, Quarantined] = {}
        #: Triggers that left the quarantine since `take_news`.
        self._cured: list[Name] = []
        self._found: list[Quarantined] = []
        self._rows = TriggerRows()
        self._ready: dict[int, TriggerRow] = {}
        self._families: tuple[Family, ...] = ()
        self._family_of: dict[str, Family] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def follow(self, families: Sequence[Family]) -> None:
        """Say who listens; before the first row comes."""
        self._families = tuple(families)
        self._family_of = {kind: family for family in families for kind in family.types}

    def memory(self) -> int:
        """Bytes held in C by rows and index."""
        return self._rows.memory() + self.index.memory()

    def sizes(self) -> dict[str, int]:
        """Return the triggers held by type."""
        return self._rows.sizes()

    def apply(self, records: bytes) -> list[int]:
        """Take rows as the store reads them; returns the slots that changed."""
        return self._carry_out(self._rows.apply(records))

    def drop(self, slots: Sequence[int]) -> None:
        """Forget triggers that the database does not have."""
        self._carry_out(self._rows.drop(slots))

    def _carry_out(self, changes: Changes) -> list[int]:
        slots = changes.slots
        if self._ready or self.quarantined:
            known = set(slots)
            for slot in known & self._ready.keys():
                del self._ready[slot]
            for slot in known & self.quarantined.keys():
                self._cured.append(self.quarantined.pop(slot).name)
        for kind, dropped in changes.drops.items():
            family = self._family_of.get(kind)
            for slot in dropped:
                self.index.drop(slot)
                if family is not None:
                    family.drop(slot)
        if changes.patterns:
            for slot in self.index.put_patterns(changes.patterns):
                self.refuse(slot, "pattern", "the stored pattern is damaged or of another version: publish again")
        for kind, put in changes.puts.items():
            family = self._family_of.get(kind)
            if family is not None:
                for slot in put:
                    self._put(slot, family)
        return slots

    def _put(self, slot: int, family: Family) -> None:
        try:
            row = self._decoded(slot)  # not kept: most rows are never hit
            if row is not None:
                family.put(slot, row)
        except BadInput as error:
            self._refuse_put(slot, family, error.message)
        except Exception as error:  # whatever one tenant's row brings about, the others' triggers must go on
            log.exception("trigger broke its family")
            self._refuse_put(slot, family, f"{type(error).__name__}: publish again, and tell us if it stays")

    def _refuse_put(self, slot: int, family: Family, message: str) -> None:
        self.index.drop(slot)
        family.drop(slot)
        self.refuse(slot, "payload", message)

    def row(self, slot: int) -> TriggerRow | None:
        """Return the trigger of a slot, or None when it is gone; raises BadInput when its payload is no object."""
        row = self._ready.get(slot)
        if row is not None:
            return row
        row = self._decoded(slot)
        if row is not None:
            if len(self._ready) >= READY_ROWS:
                self._ready.pop(next(iter(self._ready)))
            self._ready[slot] = row
        return row

    def _decoded(self, slot: int) -> TriggerRow | None:
        fields = self._rows.get(slot)
        if fields is None:
            return None
        org_id, workflow_id, node_id, kind, version, since_ms, pattern, payload, wait = fields
        wanted = _object(payload) if pattern is None else {}
        waiting = None if wait is None else WaitTarget(*_wait.decode(wait))
        return TriggerRow(org_id, workflow_id, version, node_id, kind, wanted, since_ms, pattern or b"", waiting)

    def since_ms(self, slots: Sequence[int]) -> int | None:
        """Return since when the oldest of some triggers is active."""
        found = (self._rows.since(slot) for slot in slots)
        return min((since for since in found if since is not None), default=None)

    def slot_of(self, name: Name) -> int | None:
        """Return the slot of a trigger."""
        return self._rows.slot_of(*name)

    def name_of(self, slot: int) -> Name | None:
        """Return organization, workflow and node of a slot."""
        fields = self._rows.get(slot)
        return None if fields is None else fields[:3]

    def begin_check(self) -> None:
        """From now on, remember which triggers the store brings."""
        self._rows.clear_marks()

    def unmet(self, limit: int) -> list[int]:
        """Return slots that the store has not brought since `begin_check`."""
        return self._rows.unmarked(limit)

    def refuse(self, slot: int, reason: str, message: str) -> None:
        """Quarantine a trigger."""
        name = self.name_of(slot)
        if name is None or slot in self.quarantined:
            return
        metrics.QUARANTINED_TOTAL.labels(reason).inc()
        log.error(
            "trigger quarantined",
            extra={"org": name[0], "workflow": name[1], "node": name[2], "reason": reason, "error": message},
        )
        if len(self.quarantined) < NAMED:
            self.quarantined[slot] = Quarantined(name, reason, message)
            self._found.append(self.quarantined[slot])

    def refuse_row(self, slot: int, error: BadInput) -> None:
        """Quarantine a trigger whose pattern or payload turned out to be unreadable when it was hit."""
        self.refuse(slot, "trigger", error.message)

    def take_news(self) -> tuple[list[Quarantined], list[Name]]:
        """Return who came into the quarantine and who left it since the last call."""
        held = {one.name for one in self.quarantined.values()}
        found, cured = [one for one in self._found if one.name in held], [one for one in self._cured if one not in held]
        self._found, self._cured = [], []
        return found, cured


def _object(payload: bytes | None) -> dict[str, Any]:
    try:
        return _payload.decode(payload or b"")
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"the stored payload is no JSON object ({error}): publish again", code=400381) from error
