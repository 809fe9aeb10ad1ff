"""Whatever a chain, its upstreams and the masters do: what fired is what the chain holds in the end."""

from collections import Counter

import pytest

from tests.simulation.chains import FAULTS, POLICIES, History, judged, play

HISTORIES = 500
SHARE = 50


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, HISTORIES, SHARE))
async def test_runs_are_the_matching_logs_of_the_canonical_chain(first: int) -> None:
    for seed in range(first, first + SHARE):
        wrong = await play(seed, steps=24)
        assert not wrong, "\n".join(wrong)


async def test_histories_have_kills_forks_faults_retractions_and_every_policy() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        history = History(seed)
        assert not await judged(history, steps=24)
        seen.update(word for line in history.log for word in line.split())
        seen.update(one.event.row.workflow_id for one in history.book.runs.values())
        seen.update(notice for told in history.book.notices.values() for notice in told)
    rare = {name: seen[name] for name in ("dead", "paused", "fork", "lags", "win", "removed", "finalized", *FAULTS)}
    assert min(rare.values()) >= 3, rare
    assert min(seen[f"wf_{policy}"] for policy in POLICIES) > 100
