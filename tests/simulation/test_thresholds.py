"""Random histories of a balance on a forking chain: no edge fires twice, and none that lasted is lost."""

import pytest

from tests.simulation.thresholds import play


@pytest.mark.parametrize("first", range(0, 200, 20))
async def test_what_fired_is_what_the_chain_says_in_the_end(first: int) -> None:
    for seed in range(first, first + 20):
        wrong = await play(seed)
        assert not wrong, "\n".join(wrong)
