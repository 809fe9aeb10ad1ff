"""How many blocks one read asks for: learnt for each upstream from what it refuses, and for all from how long it takes.

More is asked for by a tenth at a time, less by half, or by what the refusal names. A batch beside the front is made to
take no longer than the pause between two polls, since a new block waits for it, but never to have fewer blocks than
come in meanwhile.
"""

from collections.abc import Callable

from b3os.chain.rpc_errors import RpcError
from b3os.chain.upstreams import Upstream

FIRST_SPAN = 500
MAX_SPAN = 5000
FIRST_BATCH = 100
#: Blocks with their transactions are large: fewer at a time.
LARGE_SPAN = 20
#: How long a batch may take at most.
AIM_S = 0.5
#: How long a limit that an upstream named is believed before more is tried.
BELIEVE_S = 600.0


class Spans:
    """The limits of one chain's upstreams."""

    def __init__(self, now: Callable[[], float], *, batch: int = FIRST_BATCH, aim_s: float = AIM_S) -> None:
        self._now = now
        self._aim_s = min(AIM_S, aim_s)
        self.learnt: dict[str, int] = {}
        self._named: dict[str, float] = {}
        self._batch = batch

    def of(self, upstream: Upstream) -> int:
        """Return how many blocks an upstream is asked for."""
        return self.learnt.get(upstream.name, FIRST_SPAN)

    def batch(self, upstream: Upstream, *, is_large: bool, least: int = 0) -> int:
        """Return how many blocks a batch beside the front has: `least` or more, unless the upstream has limits."""
        return min(self.of(upstream), max(least, min(self._batch, LARGE_SPAN if is_large else MAX_SPAN)))

    def shrink(self, error: RpcError) -> bool:
        """Ask for less after a refusal; False when less is not possible."""
        span = self.learnt.get(error.upstream, FIRST_SPAN)
        # What was asked for may have been less than the limit: the front, and batches, have limits of their own.
        span = min(span, max(self._batch, 32))
        if span <= 1:
            return False
        if 0 < error.suggested < span:
            self.learnt[error.upstream] = error.suggested
            self._named[error.upstream] = self._now() + BELIEVE_S
        else:
            self.learnt[error.upstream] = span // 2
        return True

    def grow(self, upstream: Upstream | None, count: int) -> None:
        """Ask for more, after as many blocks as were asked for came."""
        if upstream is None or count < self.of(upstream) or self._named.get(upstream.name, 0.0) > self._now():
            return
        self.learnt[upstream.name] = min(MAX_SPAN, count + count // 10 + 1)

    def took(self, spent_s: float) -> None:
        """Fit the next batch to how long this one took."""
        self._batch = (
            max(10, self._batch // 2) if spent_s > self._aim_s else min(MAX_SPAN, self._batch + self._batch // 4)
        )
