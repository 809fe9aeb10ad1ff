"""Which markets, or users, are read: the names that triggers give them, what was read of each, when it is due. No I/O.

A name (a slug, a user's name) is looked up once; what it stands for is stored, and stays, whoever calls himself so
later. Whoever has waited longest is read next, so that none starves.
"""

from collections.abc import Callable, Collection

import msgspec

from b3os.detect.polymarket import TradeWatch
from b3os.detect.polymarket_place import Limits, Walk
from b3os.store.triggers import Name

#: Something nobody told of is found so late, and so late where a socket told of it and it is not listed yet.
POLL_S = 15.0
RECHECK_S = 1.0
#: For how long a transaction that a socket told of is looked for.
AWAIT_S = 60.0
AWAITED = 100
#: How far back a read goes before the newest that was read, and how far a sweep does, which finds what was listed late.
RECENT_S = 10
LATE_S = 300
SWEEP_S = 60.0
#: What is read together was read up to about the same time: else one would be read deep for another's sake.
SPREAD_S = 600
#: Who was not answered so often together with others is read alone: one answer that never comes holds up its own only.
TOGETHER = 2
#: Mostly the first page is enough.
TRADES = Limits(page=100, further=500, largest=10_000, deepest=10_000, has_window=True)


class Track:
    """One market or user; `now` is always monotonic seconds."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.slots: set[int] = set()
        self.tokens: tuple[str, ...] = ()
        #: Up to when its trades are read, in seconds of 1970; None until the first read.
        self.newest: int | None = None
        self.due_at = self.sweep_at = self.read_at = float("-inf")
        self.is_busy = False
        #: Together with others, its list went deeper than the service shows, or was not answered.
        self.is_alone = False
        #: How often it was not answered since it was read.
        self.failures = 0
        #: Transactions that a socket told of: its time in seconds of 1970, and until when they are looked for.
        self.awaited: dict[str, tuple[int, float]] = {}
        #: What was admitted lately, by trade and trigger, and the time of the trade.
        self.known: dict[tuple[str, Name], int] = {}

    def restart(self) -> None:
        """Begin anew at the stored place."""
        self.newest, self.is_busy, self.known = None, False, {}
        self.due_at = self.sweep_at = float("-inf")

    def hint(self, tx: str, at_s: int, now: float) -> None:
        """Hear of a trade: read soon, and again until it is listed. A feed that is late tells what was read already."""
        if self.newest is not None and at_s < self.newest - RECENT_S:
            return
        if len(self.awaited) < AWAITED:
            self.awaited.setdefault(tx, (at_s, now + AWAIT_S))
        self.due_at = min(self.due_at, max(now, self.read_at + RECHECK_S))

    def place_after(self, top: int, seen: Collection[str], now: float) -> int:
        """Return up to when it is read once all listed up to `top` is: not past what was told of and is not listed."""
        missing = [at_s for tx, (at_s, until) in self.awaited.items() if tx and tx not in seen and until > now]
        return max(self.newest or 0, min([top, *missing]))

    def took(self, newest: int, seen: Collection[str], now: float, *, is_sweep: bool) -> None:
        """Go on after all its trades up to a time were admitted; `seen` are the transactions that were listed."""
        self.newest, self.read_at, self.is_busy, self.is_alone, self.failures = newest, now, False, False, 0
        self.awaited = {tx: one for tx, one in self.awaited.items() if tx and tx not in seen and one[1] > now}
        self.due_at = now + (RECHECK_S if self.awaited else POLL_S)
        if is_sweep:
            self.sweep_at = now + SWEEP_S
            self.known = {one: at_s for one, at_s in self.known.items() if at_s >= newest - 2 * LATE_S}


class Batch(msgspec.Struct):
    """Tracks that are read together, and the way through the pages.

    `top` was the latest trade of all when it began; `seen` are the transactions that it brought.
    """

    tracks: list[Track]
    walk: Walk
    is_sweep: bool
    due_at: float
    top: int
    seen: set[str] = msgspec.field(default_factory=set)


class Watched:
    """All tracks of one source, and the names behind them."""

    def __init__(self, size: int, limits: Limits = TRADES) -> None:
        self.tracks: dict[str, Track] = {}
        self.names: dict[str, str] = {}
        self.watches: dict[int, TradeWatch] = {}
        self._size = size
        self._limits = limits
        self._refs: dict[str, set[int]] = {}
        #: Names that are to be looked up, and when.
        self._unknown: dict[str, float] = {}
        self._batches: list[Batch] = []

    def add(self, slot: int, watch: TradeWatch) -> str | None:
        """Let a trigger watch a name, again or for the first time; returns the key that it stands for, if known."""
        self.watches[slot] = watch
        if watch.ref not in self._refs:
            self._unknown[watch.ref] = float("-inf")
        elif watch.ref in self._unknown:
            self._unknown[watch.ref] = float("-inf")  # the new one wants to know too
        self._refs.setdefault(watch.ref, set()).add(slot)
        key = self.names.get(watch.ref)
        if key is not None:
            self._track(key).slots.add(slot)
        return key

    def remove(self, slot: int) -> None:
        """Take a trigger away, if it is there; what nobody watches is not read any more."""
        watch = self.watches.pop(slot, None)
        if watch is None:
            return
        slots = self._refs[watch.ref]
        slots.discard(slot)
        key = self.names.get(watch.ref)
        if key in self.tracks:
            self.tracks[key].slots.discard(slot)
            if not self.tracks[key].slots:
                del self.tracks[key]
        if not slots:
            del self._refs[watch.ref]
            self._unknown.pop(watch.ref, None)
            self.names.pop(watch.ref, None)

    def restart(self, names: dict[str, str]) -> list[int]:
        """Begin anew with stored names; every name is looked up once more. Returns the slots that have a key."""
        self.names = {ref: key for ref, key in names.items() if ref in self._refs}
        self.tracks, self._batches = {}, []
        for ref, key in self.names.items():
            self._track(key).slots |= self._refs[ref]
        self._unknown = dict.fromkeys(self._refs, float("-inf"))
        return [slot for track in self.tracks.values() for slot in track.slots]

    def unknown(self, now: float) -> str | None:
        """Return a name that is to be looked up."""
        due = [ref for ref, at in self._unknown.items() if at <= now]
        return min(due, key=lambda ref: self._unknown[ref]) if due else None

    @property
    def unknown_at(self) -> float:
        """When the next name is to be looked up."""
        return min(self._unknown.values(), default=float("inf"))

    def put_off(self, ref: str, until: float) -> None:
        """Look a name up later."""
        if ref in self._unknown:
            self._unknown[ref] = until

    def resolve(self, ref: str, key: str, tokens: tuple[str, ...]) -> set[int]:
        """Note what a name stands for; returns its triggers."""
        slots = self._refs.get(ref, set())
        if slots:
            self._unknown.pop(ref, None)
            self.names[ref] = key
            track = self._track(key)
            track.slots |= slots
            track.tokens = tokens or track.tokens
        return slots

    def slots_of(self, ref: str) -> set[int]:
        """Return the triggers of a name."""
        return self._refs.get(ref, set())

    @property
    def unresolved(self) -> int:
        """How many names stand for nothing that is known."""
        return len(self._refs) - len(self.names)

    def next(self, now: float, top: int, newest_of: Callable[[Track], int]) -> Batch | None:
        """Return what is to be read now: a way under way, or a new one."""
        idle = [one for one in self.tracks.values() if not one.is_busy and one.due_at <= now]
        first = min(idle, key=lambda one: one.due_at, default=None)
        ready = [one for one in self._batches if one.due_at <= now]
        under_way = min(ready, key=lambda one: one.due_at, default=None)
        if under_way is not None and (first is None or under_way.due_at <= first.due_at):
            return under_way
        return None if first is None else self._begin(first, idle, now, top, newest_of)

    def _begin(
        self, first: Track, idle: list[Track], now: float, top: int, newest_of: Callable[[Track], int]
    ) -> Batch:  # fmt: skip
        is_sweep, newest = now >= first.sweep_at, newest_of(first)
        like = [
            one for one in sorted(idle, key=lambda one: one.due_at)
            if not one.is_alone and (now >= one.sweep_at) == is_sweep and abs(newest_of(one) - newest) <= SPREAD_S
        ]  # fmt: skip
        tracks = [first] if first.is_alone else like[: self._size]
        for track in tracks:
            track.newest = newest_of(track)
        floor = min(one.newest or 0 for one in tracks) - (LATE_S if is_sweep else RECENT_S)
        return Batch(tracks, Walk(max(0, floor), self._limits.page), is_sweep, now, top)

    def goes_on(self, batch: Batch, walk: Walk, now: float) -> None:
        """Keep a way that has more pages; others go first."""
        batch.walk, batch.due_at = walk, now
        for track in batch.tracks:
            track.is_busy = True
        if not any(one is batch for one in self._batches):
            self._batches.append(batch)

    def ended(self, batch: Batch, places: dict[str, int], now: float) -> None:
        """Note that the trades of a batch are admitted up to these places."""
        self._batches = [one for one in self._batches if one is not batch]
        for track in batch.tracks:
            track.took(places[track.key], batch.seen, now, is_sweep=batch.is_sweep)

    def reach_back(self, key: str, at_s: int) -> None:
        """Read a market or user again from a time on; a way under way, which began later, is left."""
        track = self.tracks[key]
        for batch in [one for one in self._batches if track in one.tracks]:
            self._batches.remove(batch)
            for one in batch.tracks:
                one.is_busy = False
        track.newest, track.due_at = at_s, float("-inf")

    def parted(self, batch: Batch, now: float) -> None:
        """Read the tracks of a batch one by one, from where they were."""
        self._batches = [one for one in self._batches if one is not batch]
        for track in batch.tracks:
            track.is_busy, track.is_alone, track.due_at = False, True, now

    def put_back(self, batch: Batch, until: float) -> None:
        """Try a page later that failed; others go first."""
        batch.due_at = until
        for track in batch.tracks:
            track.due_at, track.failures = until, track.failures + 1
        if len(batch.tracks) > 1 and max(one.failures for one in batch.tracks) >= TOGETHER:
            self.parted(batch, until)

    def due_at(self) -> float:
        """When the next page is to be read."""
        waits = [one.due_at for one in self.tracks.values() if not one.is_busy] + [one.due_at for one in self._batches]
        return min(waits, default=float("inf"))

    def _track(self, key: str) -> Track:
        return self.tracks.setdefault(key, Track(key))
