"""How lists that show the newest first are read without a gap, page by page. Pure.

A list is read down to `floor`, a time that was read before. Pages are cut by number and new entries push the others
down, so a page ends in the middle of a moment: what has the time of its last entry is left to the next page, which
begins a little before it. Thus each moment is taken once, whole, however the list grows meanwhile. A page that has
only one moment is asked for again larger; where it may be no larger, it is taken as it is. Where a page may begin no
further down, the list is asked for anew up to the time that was reached.
"""

from collections.abc import Sequence

import msgspec

#: How many entries before the cut the next page begins: entries that vanish pull the others up.
MARGIN = 10


class Limits(msgspec.Struct, frozen=True):
    """How a list is asked for: its first page, further ones, the largest one, and how far down a page may begin.

    `has_window`: it can be asked for up to a time.
    """

    page: int
    further: int
    largest: int
    deepest: int
    has_window: bool = False


class Walk(msgspec.Struct, frozen=True):
    """One way down a list. Entries later than `ceiling` are taken already; `top` is the latest time that was seen.

    `until` is up to when the list is asked for; None: all of it.
    """

    floor: int
    limit: int
    offset: int = 0
    ceiling: int | None = None
    top: int = 0
    until: int | None = None


class Step(msgspec.Struct, frozen=True):
    """What a page brought: the walk after it, which entries are to be taken, and whether it was the last.

    `is_cut`: the list goes on below, but the service shows no more of it.
    """

    walk: Walk
    taken: list[int]
    is_last: bool
    is_cut: bool = False


def step(walk: Walk, times: Sequence[int | None], limits: Limits) -> Step:
    """Take a page: the times of its entries in order, None for an entry that cannot be read."""
    known = [at for at in times if at is not None]
    top = max([walk.top, *known])
    ceiling = top if walk.ceiling is None else walk.ceiling
    below = [number for number, at in enumerate(times) if at is not None and walk.floor <= at <= ceiling]
    moved = msgspec.structs.replace(walk, top=top, ceiling=ceiling if known else walk.ceiling)
    if len(times) < walk.limit or (known and known[-1] < walk.floor):
        return Step(moved, below, is_last=True)
    cut, margin = min(ceiling, known[-1] if known else ceiling), min(MARGIN, walk.limit // 4)
    first = next((number for number, at in enumerate(times) if at is not None and at <= cut), len(times))
    offset, taken = walk.offset + first - margin, [number for number in below if (times[number] or 0) > cut]
    if offset <= walk.offset:
        if walk.limit < limits.largest:  # nothing is taken yet: the same page comes again, larger
            return Step(msgspec.structs.replace(moved, limit=min(walk.limit * 2, limits.largest)), [], is_last=False)
        offset, taken = walk.offset + max(1, len(times) - margin), below
    after = msgspec.structs.replace(
        moved, offset=offset, ceiling=cut if known else walk.ceiling, limit=limits.further
    )  # fmt: skip
    if offset > limits.deepest:
        found = further_up(after, limits)
        return msgspec.structs.replace(found, taken=below if found.is_cut else taken)
    return Step(after, taken, is_last=False)


def further_up(walk: Walk, limits: Limits) -> Step:
    """Go on where a page may begin no further down: from the time that was reached, if that is further than before."""
    if not limits.has_window or walk.ceiling is None or walk.ceiling == walk.until:
        return Step(walk, [], is_last=True, is_cut=True)
    anew = msgspec.structs.replace(walk, offset=0, limit=limits.further, until=walk.ceiling)
    return Step(anew, [], is_last=False)
