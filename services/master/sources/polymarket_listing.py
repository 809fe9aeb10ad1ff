"""Lists of Polymarket's markets: how far each is read, when it is due, which markets are looked for. No I/O."""

from collections.abc import Collection, Container

from b3os.detect.polymarket import MARKET_CLOSE, NEW_MARKET, MarketWatch
from b3os.detect.polymarket_place import Limits, Walk
from b3os.store.triggers import Name

POLL_S, SWEEP_S = 15.0, 120.0
#: Between two looks for a market that a socket told of, and for how long it is looked for.
RECHECK_S, AWAIT_S = 2.0, 900.0
AWAITED = 1000
#: How far back a read goes before the newest that was read, and a sweep, since markets may be listed long after.
RECENT_MS, LATE_MS = 60_000, 3600_000
LISTED = Limits(page=100, further=100, largest=100, deepest=10_000)
#: The lists: what they tell of, by what they are ordered, and whether their markets are closed.
LISTS = {
    "new": (NEW_MARKET, "createdAt", "false"),
    "brief": (NEW_MARKET, "createdAt", "true"),
    "closed": (MARKET_CLOSE, "closedTime", "true"),
}


class Listing:
    """One list of LISTS. Times are milliseconds of 1970, but when something is due is monotonic."""

    def __init__(self, name: str, watches: dict[int, MarketWatch]) -> None:
        self.name = name
        self.kind, order, self.closed = LISTS[name]
        self.fields = [("order", order), ("ascending", "false"), ("closed", self.closed)]
        self.watches = watches
        #: Condition ids that a socket told of: when, and until when they are looked for.
        self.awaited: dict[str, tuple[int, float]] = {}
        self.restart()

    def restart(self) -> None:
        """Begin anew at the stored place."""
        self.newest: int | None = None
        self.walk: Walk | None = None
        self.is_sweep = False
        self.due_at = self.sweep_at = self.asked_at = self.read_at = float("-inf")
        #: What was admitted lately, by market and trigger, and when it was made or closed.
        self.known: dict[tuple[str, Name], int] = {}

    def hint(self, condition: str, told_ms: int, now: float) -> None:
        """Hear of a market: it is looked for until it is listed."""
        if self.watches and len(self.awaited) < AWAITED:
            self.awaited.setdefault(condition, (told_ms, now + AWAIT_S))

    @property
    def ask_at(self) -> float:
        """When to look for markets that a socket told of."""
        return self.asked_at + RECHECK_S if self.awaited else float("inf")

    def looked_for(self, conditions: Collection[str], known: Container[str] = ()) -> None:
        """Note that markets were looked for: those that are not known go behind the others, as long as time is left."""
        for condition in conditions:
            told, until = self.awaited.pop(condition)
            if condition not in known and until > self.asked_at:
                self.awaited[condition] = told, until

    def next_walk(self, newest: int, now: float) -> Walk:
        """Return the way under way, or the next one."""
        if self.walk is None:
            self.newest, self.is_sweep = newest, now >= self.sweep_at
            self.walk = Walk(max(0, newest - (LATE_MS if self.is_sweep else RECENT_MS)), LISTED.page)
        return self.walk

    def ended(self, newest: int, now: float) -> None:
        """Note that the list is read."""
        self.newest, self.walk, self.read_at, self.due_at = newest, None, now, now + POLL_S
        if self.is_sweep:
            self.sweep_at = now + SWEEP_S
            self.known = {one: at for one, at in self.known.items() if at >= newest - 2 * LATE_MS}
