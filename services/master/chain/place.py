"""Where a chain has been read to: what its cursor holds, and how it moves. Pure.

Blocks are read twice. `head` is the front: new blocks are read there as they come. `final` follows behind, over blocks
that no fork takes away. Between them are the hashes by which a fork is found, dense at the head and sparse below, never
below `final`; the gaps that downtime left, which are read in batches beside the head; and the blocks with events that
wait for confirmations.
"""

from typing import Any, TypeAlias

import msgspec

#: 0: as soon as seen; N: with N blocks on top; or the tag.
Policy: TypeAlias = int | str

#: The newest hashes are all kept; of older ones so many that going back costs at most an eighth more than it must.
DENSE = 64


class Gap(msgspec.Struct):
    """Blocks `first` to `last` that are still to be read, and the hash of the block before them."""

    first: int
    last: int
    parent: str


class Held(msgspec.Struct, frozen=True):
    """A block with events that wait for a policy."""

    block: int
    policy: Policy


class Place(msgspec.Struct, rename="camel"):
    """The position of one chain, as it is stored."""

    #: (number, hash), oldest first; the last is the head, the first is not above `final`.
    recent: list[tuple[int, str]]
    time_ms: int = 0
    final: int = -1
    gaps: list[Gap] = []
    held: list[Held] = []
    #: Blocks of one eth_getLogs that each upstream takes.
    spans: dict[str, int] = {}
    #: Blocks that were read, each once though forks make it be read again, and those of gaps that were filled, since
    #: the cursor began.
    seen: int = 0
    repaired: int = 0

    def __post_init__(self) -> None:
        if self.final < 0:
            self.final = self.recent[0][0]

    @property
    def head(self) -> int:
        """The newest block that was read."""
        return self.recent[-1][0]

    @property
    def head_hash(self) -> str:
        """Its hash."""
        return self.recent[-1][1]

    def hash_of(self, number: int) -> str | None:
        """Return the hash of a block, if it is kept."""
        return next((hash_ for at, hash_ in reversed(self.recent) if at == number), None)

    def advance(self, blocks: list[tuple[int, str]]) -> None:
        """Move the head over blocks that join it."""
        self.recent = thinned([*self.recent, *blocks])
        self.seen += len(blocks)

    def jump(self, before: tuple[int, str]) -> None:
        """Go on after a newer block, and leave what lies between to be read beside the head."""
        self.gaps = [*self.gaps, Gap(self.head + 1, before[0], self.head_hash)]
        self.recent = thinned([*self.recent, before])

    def fill(self, until: int, hash_: str) -> None:
        """Note that the first gap is read up to a block."""
        gap = self.gaps[0]
        self.seen += until - gap.first + 1
        self.repaired += until - gap.first + 1
        self.gaps = self.gaps[1:] if until >= gap.last else [Gap(until + 1, gap.last, hash_), *self.gaps[1:]]

    def settle(self, until: int, hash_: str) -> None:
        """Move `final`; what lies below needs no hash any more, no second look, and is no gap."""
        while self.gaps and self.gaps[0].first <= until:
            self.fill(min(until, self.gaps[0].last), hash_)
        self.final = until
        self.recent = [(until, hash_), *[pair for pair in self.recent if pair[0] > until]]
        self.held = [held for held in self.held if held.block > until]

    def go_back(self, number: int) -> None:
        """Forget what was read above a block that both chains share."""
        unread = sum(gap.last - max(gap.first, number + 1) + 1 for gap in self.gaps if gap.last > number)
        self.seen = max(0, self.seen - (self.head - number - unread))
        self.recent = [pair for pair in self.recent if pair[0] <= number]
        self.gaps = [Gap(g.first, min(g.last, number), g.parent) for g in self.gaps if g.first <= number]
        self.held = [held for held in self.held if held.block <= number]

    def hold(self, wanted: set[Held]) -> None:
        """Remember blocks whose events wait."""
        fresh = wanted.difference(self.held)
        self.held = sorted({*self.held, *fresh}, key=lambda held: (held.block, str(held.policy)))

    def due(self, head: int, safe: int) -> list[Held]:
        """Return the blocks whose events have waited long enough."""
        return [one for one in self.held if one.block <= (safe if one.policy == "safe" else head - int(one.policy))]


def thinned(recent: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Keep the newest hashes, the oldest one, and of the others fewer the older they are."""
    if len(recent) <= DENSE + 1:
        return recent
    head, kept = recent[-1][0], [recent[0]]
    for pair in recent[1:-DENSE]:
        if pair[0] - kept[-1][0] >= max(1, (head - pair[0]) // 8):
            kept.append(pair)
    return kept + recent[-DENSE:]


def is_due(policy: Policy, block: int, head: int) -> bool:
    """Say whether an event of a block that was just read fires at once."""
    return isinstance(policy, int) and block + policy <= head


def read_place(stored: dict[str, Any]) -> Place | None:
    """Read a cursor, also one of an older version; None when there is none."""
    return msgspec.convert(stored, Place) if stored.get("recent") else None
