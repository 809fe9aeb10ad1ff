"""Shares of the lanes: exact over time, whatever the size of each take."""

from hypothesis import given
from hypothesis import strategies as st

from b3os.queue.lanes import WEIGHTS, Turns


@given(st.lists(st.integers(1, 64), min_size=1, max_size=60))
def test_every_lane_gets_its_weight_over_time(takes: list[int]) -> None:
    turns = Turns()
    got = dict.fromkeys(WEIGHTS, 0)
    for limit in takes:
        shares = turns.share(limit)
        assert sum(shares.values()) == limit
        for lane, count in shares.items():
            got[lane] += count
    total = sum(WEIGHTS.values())
    for lane, weight in WEIGHTS.items():
        assert abs(got[lane] - sum(takes) * weight / total) <= 1
