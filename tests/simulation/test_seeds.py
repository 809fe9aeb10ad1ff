"""Three hundred seeds hold every invariant, the same seed is the same history, and a known bug is found."""

from itertools import islice

import pytest

from tests.simulation.engine import Simulation, play, report
from tests.simulation.faults import plan

SEEDS, PART = 300, 30


@pytest.mark.parametrize("first", range(1, SEEDS, PART))
def test_invariants_hold_under_faults(first: int) -> None:
    failed = [found for seed in range(first, first + PART) if (found := report(seed, plan(seed))) is not None]
    assert not failed, "\n".join(map(str, failed))


def test_a_seed_is_one_history() -> None:
    histories = []
    for _ in range(2):
        simulation = Simulation(7, plan(7))
        simulation.run()
        histories.append((simulation.loop.steps, simulation.world.trace, simulation.world.effects))
    assert histories[0] == histories[1]
    assert histories[0][2], "no action was called: the seed shows nothing"


def test_stale_writes_are_found_when_fencing_is_off() -> None:
    failing = (n for n in range(1, SEEDS) if play(n, plan(n), is_fenced=False)[0] is not None)
    reports = [report(seed, plan(seed), is_fenced=False) for seed in islice(failing, 3)]
    found = [one for one in reports if one is not None]
    assert len(found) == 3
    assert all("after its result was recorded" in one.what or "ended as" in one.what for one in found)
    # A fault that is dropped moves all that comes later, so that not every history gets as short as it could be.
    shortest = min(found, key=lambda one: len(one.faults))
    assert 1 <= len(shortest.faults) <= 3, "a stale write takes one pause or one kill, the rest is to be dropped"
    assert f"seed {shortest.seed}" in str(shortest)
