"""The triggers on a chain's state that a master holds, and what it knows of each.

Triggers of one policy are read at the same block, so they are kept together. One that says the same in a new version
stays as it is: whether it has fired belongs to what it asks and since when.
"""

from collections.abc import Iterator, Mapping

import msgspec

from b3os.detect.edges import EdgeState, Place
from b3os.detect.thresholds import StateWatch
from b3os.reading.states import Answer
from b3os.store.edge_states import Marked
from b3os.store.triggers import Name, TriggerRow
from services.master.chain.place import Policy


class Held:
    """One trigger."""

    def __init__(self, row: TriggerRow, watch: StateWatch) -> None:
        self.row = row
        self.watch = watch
        self.mark = f"{row.active_since_ms} {watch.mark}"
        self.state = EdgeState()
        #: What its last reading was made of: the same bytes say the same again.
        self.answer: Answer | None = None
        #: Why it cannot be read, as it was told; None: that is not known.
        self.problem: str | None = None

    def marked(self, state: EdgeState) -> Marked | None:
        """Return a state as it is stored; None when there is nothing to remember."""
        return (self.mark, msgspec.to_builtins(state)) if state != EdgeState() else None


class Group:
    """The triggers of one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.held: dict[int, Held] = {}
        #: Triggers that have not been read yet, or could not be.
        self.fresh: set[int] = set()
        #: The block of the last reading.
        self.at: Place | None = None
        #: The head of the chain then.
        self.head = -1
        self.failures = 0
        self.due_at = float("-inf")


class Holding:
    """All triggers of one chain; `confirmations` is the policy of those that have none of their own."""

    def __init__(self, confirmations: int) -> None:
        self._confirmations = confirmations
        self.groups: dict[Policy, Group] = {}
        self._group_of: dict[int, Group] = {}
        #: Stored states of triggers that this master has not heard of yet.
        self._stored: dict[Name, Marked] = {}
        self._places: Mapping[str, Place] = {}

    def __len__(self) -> int:
        return len(self._group_of)

    def __iter__(self) -> Iterator[Held]:
        return (held for group in self.groups.values() for held in group.held.values())

    def put(self, slot: int, row: TriggerRow, watch: StateWatch) -> None:
        """Add or replace a trigger."""
        held, known = Held(row, watch), self._group_of.get(slot)
        if known is not None and known.held[slot].mark == held.mark and known.held[slot].row.name == row.name:
            held = known.held[slot]
            held.row, held.watch = row, watch  # its outputs may have other names
            held.answer, held.problem = None, None  # what a version was told is gone with it
            return
        self.drop(slot)
        policy = self._confirmations if watch.policy is None else watch.policy
        group = self.groups.setdefault(policy, Group(policy))
        group.at = group.at or self._places.get(str(policy))
        group.held[slot], self._group_of[slot] = held, group
        group.fresh.add(slot)
        self._adopt(held)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        group = self._group_of.pop(slot, None)
        if group is not None:
            del group.held[slot]
            group.fresh.discard(slot)
            if not group.held:
                del self.groups[group.policy]

    def restore(self, places: Mapping[str, Place], stored: dict[Name, Marked]) -> None:
        """Take up what the last owner of the source stored; everything is read anew."""
        self._places, self._stored = places, stored
        for group in self.groups.values():
            group.at, group.head, group.failures, group.due_at = places.get(str(group.policy)), -1, 0, float("-inf")
            group.fresh = set(group.held)
            for held in group.held.values():
                held.state, held.answer, held.problem = EdgeState(), None, None
                self._adopt(held)

    def _adopt(self, held: Held) -> None:
        mark, state = self._stored.pop(held.row.name, ("", {}))
        if mark == held.mark:
            held.state = msgspec.convert(state, EdgeState)

    def places(self) -> dict[str, Place]:
        """Return the block of each policy's last reading, as a cursor keeps it."""
        return {str(group.policy): group.at for group in self.groups.values() if group.at is not None}
