"""R02: the process dies at each named point of a run, just before what it says reaches the server, and just after.

A point is known by the bytes on a link: what the process was about to say is what it was about to do.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.faults.conftest import Grow
from tests.faults.verdict import TAKEOVER_S, await_end, check, check_once
from tests.faults.workload import five_nodes, send
from tests.system.house import until

pytestmark = pytest.mark.timeout(120)


class Point(msgspec.Struct, frozen=True):
    """Who dies, on which link, at the first bytes to the server with all `marks`."""

    process: str
    link: str
    marks: tuple[bytes, ...]


#: The idempotency key of the first trigger, which its stored headers carry.
TRIGGER = b"n-0"
POINTS = {
    "admit": Point("api", "postgres", (TRIGGER,)),
    "enqueue": Point("api", "ops", (b"EVALSHA", b"run_")),
    "claim": Point("worker", "postgres", (b"run_",)),
    "done": Point("worker", "ops", (b"EVALSHA", b"run_")),
    "persist": Point("worker", "postgres", (b"run_", b"http-request")),
    "call": Point("worker", "actions", (b"run_",)),
    "tell": Point("worker", "ops", (b"XADD", b"run_")),
}
SHORT = {"admit", "persist"}


def is_at(point: Point) -> Callable[[bool, bytes], bool]:
    """Make the test of a proxy for a point."""
    return lambda up, data: up and all(mark in data for mark in point.marks)


@pytest.mark.parametrize("passes", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in POINTS]
)
def test_r02_death_at_a_named_point_loses_and_repeats_nothing(grow: Grow, name: str, passes: bool) -> None:
    plant, point = grow("worker"), POINTS[name]
    workflow = five_nodes(plant, "/one")
    victim = next(process for process in plant.processes if process.name == point.process)
    spare: list[Any] = []
    victim.links[point.link].strike(is_at(point), lambda: spare.append(victim.kill()), passes=passes)
    if name == "admit":
        with pytest.raises(TimeoutError):
            send(plant, workflow, [0], 3.0)
    else:
        # A call is answered when its run is stored, while it is handed over: who dies then may have answered or not.
        with contextlib.suppress(TimeoutError):
            send(plant, workflow, [0], 3.0)
    until(lambda: spare, what=f"the point {name}")
    victim.ended()
    plant.start(point.process)
    accepted = send(plant, workflow, [0])
    await_end(plant, workflow, TAKEOVER_S)
    check(plant, workflow, accepted.values())
    # The actions process lives: whoever takes the run over is given the answer of what was done already.
    check_once(plant, "/one", "/two", count=1)
