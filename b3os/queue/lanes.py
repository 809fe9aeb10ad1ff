"""Whose turn it is: shares of the lanes by weight, so that the heavy one goes first and the light one never starves.

Pure. Shares are exact over time, whatever the size of each take: what a lane did not get now, it gets later.
"""

from collections.abc import Mapping

from b3os.queue.keys import CRITICAL, DEFAULT

WEIGHTS: Mapping[str, int] = {CRITICAL: 6, DEFAULT: 1}


class Turns:
    """Smooth weighted round robin over lanes."""

    def __init__(self, weights: Mapping[str, int] = WEIGHTS) -> None:
        self._weights = dict(weights)
        self._total = sum(weights.values())
        self._credit = dict.fromkeys(weights, 0)

    def share(self, limit: int) -> dict[str, int]:
        """Split `limit` takes among the lanes, largest first."""
        whole, rest = divmod(limit, self._total)
        shares = {lane: whole * weight for lane, weight in self._weights.items()}
        for _ in range(rest):
            for lane, weight in self._weights.items():
                self._credit[lane] += weight
            lane = max(self._credit, key=lambda name: self._credit[name])
            self._credit[lane] -= self._total
            shares[lane] += 1
        return dict(sorted(shares.items(), key=lambda item: -item[1]))
