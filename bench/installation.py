"""A whole installation: how soon it is ready, and what its idle processes hold."""

import tempfile
from functools import cache, partial

import msgspec

from bench.report import Gate
from bench.running import up_in

PROCESSES = ("api", "master", "worker", "actions", "watchdog")


class Installation(msgspec.Struct, frozen=True):
    """Seconds until ready, and resident MB by process."""

    starts: list[float]
    resident: dict[str, float]


@cache
def measured() -> Installation:
    """Start B3OS twice in one folder; the first start includes initdb."""
    starts: list[float] = []
    with tempfile.TemporaryDirectory(prefix="b3b") as folder:
        for _ in range(2):
            with up_in(folder) as up:
                starts.append(up.start_s)
                resident = up.resident_mb()
    return Installation(starts, resident)


def _start(number: int) -> float:
    return measured().starts[number]


def _resident(process: str) -> float:
    return measured().resident[process]


GATES = (
    Gate(
        name="first start", unit="s", bar=5, measure=partial(_start, 0), forget=measured.cache_clear,
        reason="`make up` feels slow",
    ),
    Gate(
        name="second start", unit="s", bar=5, measure=partial(_start, 1), forget=measured.cache_clear,
        reason="`make up` feels slow",
    ),
    *(
        Gate(
            name=f"idle {process}", unit="MB", bar=100, measure=partial(_resident, process),
            forget=measured.cache_clear, reason="a small machine cannot hold the five processes",
        )
        for process in PROCESSES
    ),
)  # fmt: skip
