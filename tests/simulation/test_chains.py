"""Whatever a chain, its upstreams and the masters do: what fired is what the chain holds in the end."""

import pytest

from tests.simulation.chains import play

HISTORIES = 500
SHARE = 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, HISTORIES, SHARE))
async def test_runs_are_the_matching_logs_of_the_canonical_chain(first: int) -> None:
    for seed in range(first, first + SHARE):
        wrong = await play(seed, steps=24)
        assert not wrong, "\n".join(wrong)
