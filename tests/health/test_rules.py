"""Verdicts and schedule: noise is not illness, and no check overlaps itself."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3os.health.schedule import Schedule
from b3os.health.verdicts import DEGRADED, HEALTHY, UNHEALTHY, UNHEALTHY_AFTER, Verdict, judge, next_in_s


def statuses(results: str) -> list[str]:
    verdict, found = Verdict(), []
    for result in results:
        verdict = judge(verdict, ok=result == "+")
        found.append(verdict.status)
    return found


@pytest.mark.parametrize(
    ("results", "status"),
    [("+", HEALTHY), ("-", DEGRADED), ("--", DEGRADED), ("---", UNHEALTHY), ("---+", HEALTHY), ("--+-", DEGRADED)],
)
def test_three_failures_in_a_row_are_illness(results: str, status: str) -> None:
    assert statuses(results)[-1] == status


@given(st.text("+-", min_size=1, max_size=50))
def test_the_count_is_of_the_last_row_of_failures(results: str) -> None:
    verdict = Verdict()
    for result in results:
        verdict = judge(verdict, ok=result == "+")
    assert verdict.failures == len(results) - len(results.rstrip("-"))
    assert (verdict.status == UNHEALTHY) == (verdict.failures >= UNHEALTHY_AFTER)


def test_a_doubtful_check_is_looked_at_sooner() -> None:
    assert next_in_s(Verdict(DEGRADED, 1), 300) == 10
    assert next_in_s(Verdict(UNHEALTHY, 5), 300) == 300


def test_checks_are_spread_and_come_back_only_after_they_are_done() -> None:
    schedule = Schedule(random.Random(1).random)
    for number in range(100):
        schedule.add(str(number), 0.0, 30.0)
    first = schedule.due(15.0)
    assert 20 < len(first) < 80
    assert not set(first) & set(schedule.due(1000.0)), "what was handed out is not due"
    schedule.done(first[0], 1000.0, 100.0)
    assert schedule.due(1089.0) == []
    assert schedule.due(1110.0) == [first[0]]
