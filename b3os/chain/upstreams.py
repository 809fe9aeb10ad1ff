"""The upstreams of one chain: how each behaves, and whom to ask first. Pure but for the clock that is handed in.

An upstream that failed rests, longer each time; one without quota, or on another chain, rests for long. One whose head
is behind the others' is asked last. Weights share turns between the healthy; a turn lasts for a whole poll, so that the
answers of a poll are of one view.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from b3os.chain.rpc_errors import Cause

BACKOFF_S = (0.25, 1.0, 4.0, 15.0, 60.0)
QUOTA_S = 600.0
#: A second opinion that can be had so soon is waited for.
SOON_S = 60.0
#: An upstream may be this many blocks behind the best before it is asked last: views differ by a block or two.
MAX_LAG = 3
#: A rest that an upstream asks for is obeyed up to here.
MAX_REST_S = 3600.0


class Upstream:
    """One address of a chain and how it has behaved."""

    def __init__(self, url: str, weight: int) -> None:
        self.url = url
        self.weight = weight
        self.host = urlsplit(url).hostname or "?"
        #: What names it in cursors and reports; never its address, which may hold a key.
        self.name = self.host
        self.failures = 0
        self.blocked_until = 0.0
        self.last_error = ""
        self.is_pinned = False
        self.takes_batches = True
        #: How it traces a block: the name of a dialect; empty: it does not; None: it has not been asked.
        self.tracer: str | None = None
        #: It is not asked to trace before this.
        self.traces_at = 0.0
        #: It is not asked for all receipts of a block before this.
        self.receipts_at = 0.0
        #: The highest block that it has announced.
        self.head = 0
        self.share = 0


class Upstreams:
    """All of them, in the order of the configuration."""

    def __init__(self, urls: Sequence[str], weights: Sequence[int], now: Callable[[], float]) -> None:
        self.all = [Upstream(url, weights[i] if i < len(weights) else 0) for i, url in enumerate(urls)]
        for index, upstream in enumerate(self.all):
            if any(upstream.name == other.name for other in self.all[:index]):
                upstream.name = f"{upstream.host}#{index}"
        self._now = now
        self._current: Upstream | None = None

    def order(self, last: Collection[Upstream] = ()) -> list[Upstream]:
        """Return whom to ask, best first; if all rest, the one that is free soonest. `last` is asked last."""
        now = self._now()
        free = [upstream for upstream in self.all if upstream.blocked_until <= now]
        if not free:
            return [min(self.all, key=lambda upstream: upstream.blocked_until)]
        best = max(upstream.head for upstream in free)
        return sorted(free, key=lambda u: (u in last, u.head < best - MAX_LAG, u is not self._current))

    def turn(self) -> None:
        """Begin a poll: whose turn it is among the weighted that are well (smooth weighted round robin)."""
        weighted = [upstream for upstream in self.order() if upstream.weight]
        for upstream in weighted:
            upstream.share += upstream.weight
        self._current = max(weighted, key=lambda upstream: upstream.share, default=None)
        if self._current is not None:
            self._current.share -= sum(upstream.weight for upstream in weighted)

    def is_alone(self) -> bool:
        """Whether only one can be asked now, while another will be soon."""
        now = self._now()
        rests = [max(0.0, upstream.blocked_until - now) for upstream in self.all]
        return len([rest for rest in rests if not rest]) < 2 <= len([rest for rest in rests if rest <= SOON_S])

    def block(self, upstream: Upstream, cause: Cause, reason: str, *, rest_s: float = 0.0) -> None:
        """Let an upstream rest after a failure."""
        pause = QUOTA_S if cause is Cause.QUOTA else BACKOFF_S[min(upstream.failures, len(BACKOFF_S) - 1)]
        upstream.failures += 1
        upstream.blocked_until = self._now() + max(pause, min(rest_s, MAX_REST_S))
        upstream.is_pinned = False
        upstream.last_error = reason[:200]

    def report(self) -> list[dict[str, Any]]:
        """Say how each fares, without its address."""
        now = self._now()
        return [
            {
                "name": u.name,
                "head": u.head,
                "isResting": u.blocked_until > now,
                "lastError": u.last_error,
                "traces": None if u.tracer is None else bool(u.tracer),
            }
            for u in self.all
        ]
