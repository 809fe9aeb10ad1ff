"""What a bench is: gates with a bar, one line per figure, and rounds that are fair.

A gate's figure is a ratio or a budget measured in one run: acts in interleaved rounds, medians, the collector off. A
shortfall is measured twice more before it fails, since the machines are shared.
"""

import gc
import statistics
import time
from collections.abc import Callable

import msgspec

ATTEMPTS = 3


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One figure and its bar. `reason` says what a user would feel below the bar; `is_quick` puts it into make test."""

    name: str
    bar: float
    measure: Callable[[], float]
    reason: str
    at_least: bool = False
    #: Several gates may share one long measurement; called before it is measured again.
    forget: Callable[[], None] = lambda: None
    unit: str = ""
    is_quick: bool = False

    def holds(self, value: float) -> bool:
        """Say whether a figure meets the bar."""
        return value >= self.bar if self.at_least else value <= self.bar


def report(name: str, value: float, bar: str, *, is_good: bool) -> bool:
    """Print one line."""
    print(f"{'ok  ' if is_good else 'FAIL'} {name}: {value:.2f} (bar {bar})", flush=True)
    return is_good


def remark(text: str) -> None:
    """Print what goes with a figure and has no bar."""
    print(f"     {text}", flush=True)


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


def check(gate: Gate) -> bool:
    """Measure a gate, print its line, and say whether the bar is met."""
    value = gate.measure()
    for _ in range(ATTEMPTS - 1):
        if gate.holds(value):
            break
        gate.forget()
        value = gate.measure()
    good = gate.holds(value)
    unit = f", {gate.unit}" if gate.unit else ""
    report(f"{gate.name}{unit}", value, f"{'>=' if gate.at_least else '<='} {gate.bar:g}", is_good=good)
    if not good:
        remark(f"why it matters: {gate.reason}")
    return good
