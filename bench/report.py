"""One line per figure, and rounds that are fair: interleaved, medians, the collector off."""

import gc
import statistics
import time
from collections.abc import Callable


def report(name: str, value: float, bar: str, *, is_good: bool) -> bool:
    """Print one line."""
    print(f"{'ok  ' if is_good else 'FAIL'} {name}: {value:.2f} (bar {bar})", flush=True)
    return is_good


def medians(rounds: int, *acts: Callable[[], object]) -> list[float]:
    """Return the median seconds of each act, rounds interleaved so that noise meets all alike."""
    times: list[list[float]] = [[] for _ in acts]
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for act, taken in zip(acts, times, strict=True):
                began = time.perf_counter()
                act()
                taken.append(time.perf_counter() - began)
    finally:
        gc.enable()
    return [statistics.median(taken) for taken in times]


def gate(name: str, bar: float, measure: Callable[[], float], *, at_least: bool) -> bool:
    """Report a ratio against its bar; a shortfall is measured twice more before it fails."""
    for attempt in range(3):
        value = measure()
        is_good = value >= bar if at_least else value <= bar
        if is_good or attempt == 2:
            return report(name, value, f"{'>=' if at_least else '<='} {bar:g}", is_good=is_good)
    raise AssertionError("the loop returns")
