"""How often an organization may call, in memory, so that a limit is one API process's: token buckets, and turns."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from b3os.errors import TooMany

#: Organizations remembered; one that was forgotten has a full bucket.
REMEMBERED = 10_000


#: Long calls of one process at once, of one organization 1, and how many it may begin in a minute.
TURNS, TURNS_A_MINUTE = 4, 12


class RateLimit:
    """At most `per_s` calls a second and organization, and as many at once after a pause; 0 limits nothing.

    `burst` is how many may come at once where that is not as many as in a second.
    """

    def __init__(self, per_s: float, *, burst: int = 0) -> None:
        self._per_s = per_s
        self._burst = float(burst or per_s)
        #: Organization → (calls that are left, when that was so), least lately used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, org_id: str, now_s: float) -> None:
        """Count one call; raises TooMany, which says after how many seconds the next one may come."""
        if not self._per_s:
            return
        left, at = self._buckets.pop(org_id, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at) * self._per_s)
        is_over = left < 1
        self._buckets[org_id] = (left if is_over else left - 1, now_s)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if is_over:
            raise TooMany(
                f"your organization may call {self._per_s:g} times a second: wait, and call less often",
                retry_after_s=(1 - left) / self._per_s,
            )


class Turns:
    """Turns for calls that take seconds, and cost others: one at a time for an organization, a few for all."""

    def __init__(self) -> None:
        self._limit = RateLimit(TURNS_A_MINUTE / 60, burst=TURNS_A_MINUTE)
        self._busy: set[str] = set()

    @contextmanager
    def turn(self, org_id: str, now_s: float) -> Iterator[None]:
        """Take a turn for as long as the block lasts; raises TooMany."""
        if org_id in self._busy:
            raise TooMany("your organization is looking back already: wait until that has ended", retry_after_s=5)
        if len(self._busy) >= TURNS:
            raise TooMany("others are looking back: try again in a few seconds", retry_after_s=5)
        self._limit.take(org_id, now_s)
        self._busy.add(org_id)
        try:
            yield
        finally:
            self._busy.remove(org_id)
