"""How masters share the sources: which of them one takes, asks another for, and gives when it is asked. Pure.

The sources are dealt out to the masters, the longest alive first, so that each has as many as any other, give or take
one, in all and of every kind. The deal says how many of a kind a master may hold, not which: nothing moves while the
counts are right, and a change of masters moves no more than it must. A source moves only because another asked for it:
a master that does not want a kind never gets it. What no master with room takes for a while is anybody's, so that a
source is read though masters see different things.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec


class Elsewhere(msgspec.Struct, frozen=True):
    """A source in the hands of another master, and which master asked for it last, if any."""

    owner: str
    asked_by: str = ""


class View(msgspec.Struct, frozen=True):
    """What one master sees: `wanted` in the order of the families, the same in every master."""

    me: str
    #: All that are alive, the oldest first; ids sort by time.
    masters: Sequence[str]
    wanted: Sequence[str]
    held: Set[str]
    #: Sources of this master that another asks for, and which.
    asked: Mapping[str, str]
    elsewhere: Mapping[str, Elsewhere]
    #: What has been free for a while.
    spare: Set[str] = frozenset()


class Plan(msgspec.Struct, frozen=True):
    """What a master does next; `left` is free and waits for a master that has room."""

    take: list[str]
    ask: list[str]
    give: list[str]
    left: list[str]


def kind_of(name: str) -> str:
    """Return a source's kind, such as `chain` of `chain:8453`."""
    return name.partition(":")[0]


def shares(wanted: Sequence[str], masters: Sequence[str]) -> dict[str, Counter[str]]:
    """Deal the sources out; returns how many of each kind a master may hold."""
    found = {master: Counter[str]() for master in masters}
    for place, name in enumerate(wanted):
        found[masters[place % len(masters)]][kind_of(name)] += 1
    return found


def plan(view: View) -> Plan:
    """Decide what a master does about every kind of source."""
    dealt = shares(view.wanted, view.masters)
    holding = {master: Counter[str]() for master in view.masters}
    for name, other in view.elsewhere.items():
        if other.owner in holding:
            holding[other.owner][kind_of(name)] += 1
    free = [name for name in view.wanted if name not in view.held and name not in view.elsewhere]
    by_kind: dict[str, list[str]] = {}
    for name in view.wanted:
        by_kind.setdefault(kind_of(name), []).append(name)
    take, ask, give = list[str](), list[str](), list[str]()
    for kind, names in by_kind.items():
        room = dealt[view.me][kind] - sum(name in view.held for name in names)
        if room > 0:
            taken = [name for name in free if kind_of(name) == kind][:room]
            take += taken
            surplus = {master: holding[master][kind] - dealt[master][kind] for master in view.masters}
            ask += _to_ask(names, view, room - len(taken), surplus)
        elif room < 0:
            give += [name for name in names if _is_asked(name, view)][:-room]
    take += [name for name in free if name in view.spare and name not in take]
    return Plan(take, ask, give, [name for name in free if name not in take])


def _to_ask(names: Iterable[str], view: View, room: int, surplus: Mapping[str, int]) -> list[str]:
    """Choose what to ask for: of masters that hold too many, and nothing that one who is alive has asked for."""
    chosen, left = list[str](), Counter(surplus)
    elsewhere = [(name, view.elsewhere[name]) for name in names if name in view.elsewhere]
    for _, other in elsewhere:
        if other.asked_by in view.masters:
            left[other.owner] -= 1
            room -= other.asked_by == view.me
    for name, other in elsewhere:
        if room > 0 and left[other.owner] > 0 and other.asked_by not in view.masters:
            chosen.append(name)
            left[other.owner] -= 1
            room -= 1
    return chosen


def _is_asked(name: str, view: View) -> bool:
    by = view.asked.get(name, "")
    return name in view.held and by != view.me and by in view.masters
