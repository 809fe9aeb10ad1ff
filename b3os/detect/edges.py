"""When a condition on a chain's state becomes true, and true again, through forks. Pure.

A trigger fires when its condition becomes true, and is armed again when it has become false. What is kept of it is the
changes of blocks that are not final, and the last one before: a fork takes back the changes of the blocks that it took
away. An edge that a fork took is the same event when the condition becomes true again on the new blocks: nearly
always the same transaction brings it about a block later.
"""

from collections.abc import Collection, Iterable

import msgspec

#: Changes of one trigger that are kept; a fork that takes more finds the oldest of them.
MOST = 64

#: A block's number and hash.
Place = tuple[int, str]


class Change(msgspec.Struct, frozen=True, array_like=True):
    """A block in which a condition became true, and then `edge` is the identity of the event; or false: it is empty."""

    block: int
    hash: str
    edge: str = ""


class EdgeState(msgspec.Struct, frozen=True):
    """Changes, oldest first, and the edge that a fork took away, if it did."""

    changes: tuple[Change, ...] = ()
    lost: Change | None = None

    @property
    def is_latched(self) -> bool:
        """Whether the trigger has fired and its condition has not become false since."""
        return bool(self.changes) and bool(self.changes[-1].edge)

    @property
    def places(self) -> Iterable[Place]:
        """The blocks of its changes."""
        return ((change.block, change.hash) for change in self.changes)


def seen(state: EdgeState, place: Place, fresh: str, *, holds: bool, keeps: bool) -> tuple[EdgeState, str]:
    """Take a reading; returns the new state, and the edge to fire: `fresh`, one that a fork took, or none (empty).

    `holds` is the condition; while `keeps` is true a trigger that fired stays latched.
    """
    if state.is_latched:
        return (state if keeps else _changed(state, Change(*place))), ""
    if not holds:
        return state, ""
    edge = state.lost.edge if state.lost is not None else fresh
    return EdgeState(_changed(state, Change(*place, edge)).changes), edge


def _changed(state: EdgeState, change: Change) -> EdgeState:
    return EdgeState((*state.changes, change)[-MOST:], state.lost)


def rewound(state: EdgeState, gone: Collection[Place]) -> EdgeState:
    """Take back what happened in blocks that a fork took away, and after them."""
    kept = next((n for n, place in enumerate(state.places) if place in gone), len(state.changes))
    if kept == len(state.changes):
        return state
    lost = next((change for change in state.changes[kept:] if change.edge), state.lost)
    return EdgeState(state.changes[:kept], lost)


def settled(state: EdgeState, final: int) -> EdgeState:
    """Forget what no fork can take back any more, but whether it is latched."""
    older = [change for change in state.changes if change.block <= final]
    kept = state.changes[max(0, len(older) - 1) :]
    if kept and kept[0].block <= final and not kept[0].edge:
        kept = kept[1:]
    lost = state.lost if state.lost is not None and state.lost.block > final else None
    return EdgeState(kept, lost)
