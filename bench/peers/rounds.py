"""Rounds in turn: what each side does in a second, the median of several, so that noise meets all alike."""

import statistics
from collections.abc import Callable, Mapping

from bench.report import remark

ROUNDS = 5

Round = Callable[[], float]
Rates = dict[str, float]


def rates(rounds: Mapping[str, Round]) -> Rates:
    """Return the median of each, after one round that warms it."""
    found: dict[str, list[float]] = {name: [] for name in rounds}
    for number in range(ROUNDS + 1):
        for name, act in rounds.items():
            rate = act()
            if number:
                found[name].append(rate)
    for name, each in found.items():
        remark(f"{name}: {statistics.median(each):,.0f}/s ({min(each):,.0f} to {max(each):,.0f})")
    return {name: statistics.median(each) for name, each in found.items()}
