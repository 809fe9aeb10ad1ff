"""How often an organization may call: a token bucket for each, in memory, so the limit is one API process's."""

from collections import OrderedDict

from b3os.errors import TooMany

#: Organizations remembered; one that was forgotten has a full bucket.
REMEMBERED = 10_000


class RateLimit:
    """At most `per_s` calls a second and organization, and as many at once after a pause; 0 limits nothing."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        #: Organization → (calls that are left, when that was so), least lately used first.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, org_id: str, now_s: float) -> None:
        """Count one call; raises TooMany, which says after how many seconds the next one may come."""
        if not self._per_s:
            return
        left, at = self._buckets.pop(org_id, (float(self._per_s), now_s))
        left = min(float(self._per_s), left + (now_s - at) * self._per_s)
        is_over = left < 1
        self._buckets[org_id] = (left if is_over else left - 1, now_s)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if is_over:
            raise TooMany(
                f"your organization may call {self._per_s} times a second: wait, and call less often",
                retry_after_s=(1 - left) / self._per_s,
            )
