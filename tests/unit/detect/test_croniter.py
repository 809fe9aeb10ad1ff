"""Ours against croniter, and each difference with what was decided (the reasons are in docs/cron.md)."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from b3os.detect.schedules import next_slots
from b3os.errors import BadInput
from tests.examples import examples

COUNT = 4


def croniters(text: str, zone: str, after: datetime, **how: Any) -> list[str]:
    walk = croniter(text, after.astimezone(ZoneInfo(zone)), **how)
    return [walk.get_next(datetime).isoformat() for _ in range(COUNT)]


def ours(text: str, zone: str, after: datetime) -> list[str]:
    slots = next_slots({"schedule": text, "timezone": zone}, int(after.timestamp()), COUNT)
    return [datetime.fromtimestamp(slot, ZoneInfo(zone)).isoformat() for slot in slots]


def part(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(sorted).filter(lambda ends: ends[0] < ends[1])  # croniter takes 0-0 for all
    step = st.sampled_from(["", "/2", "/3", "/7"] if high > 7 else [""])
    return value.map(str) | st.builds(lambda ends, step: f"{ends[0]}-{ends[1]}{step}", pair, step)


def field(low: int, high: int, *more: str) -> st.SearchStrategy[str]:
    return st.one_of(st.just("*"), st.lists(part(low, high), min_size=1, max_size=3).map(",".join), *map(st.just, more))


#: Day and weekday: plain ones together, `L`, `W` and `#` alone.
DAYS = st.one_of(
    st.builds(
        "{} {} {}".format, field(1, 28), st.sampled_from(["*", "6-9", "jan-mar,DEC"]), field(0, 6, "mon-fri", "7")
    ),
    st.sampled_from(["L * *", "15W * *", "* * L5", "* * 5#3", "L,7 * *", "* 6,7 fri#1"]),
)
TEXTS = st.builds("{} {} {}".format, field(0, 59, "*/5"), field(0, 23, "*/2", "22-2"), DAYS)


@settings(max_examples=examples(150), deadline=None)
@given(TEXTS, st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Berlin"]), st.integers(0, 27))
def test_slots_away_from_the_change_of_clocks_are_croniters(text: str, zone: str, days: int) -> None:
    after = datetime(2026, 6, 1 + days, 3, 7, 31, tzinfo=UTC)
    expected = croniters(text, zone, after)
    found = ours(text, zone, after)
    autumn = [slot for slot in expected if slot[5:10] in ("10-25", "10-31", "10-30")]  # its own test below
    assert autumn or found == expected


@pytest.mark.parametrize(
    ("text", "after", "croniter_says", "we_say"),
    [
        # A fixed slot in the overlap fires the first time only: a daily report is not sent twice.
        ("30 2 * * *", "2026-10-24T12:00", ["10-25T02:30:00+02:00", "10-25T02:30:00+01:00"],
         ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]),
        # A day field that begins with * does not restrict, as in Vixie cron and its manual: odd days that are Mondays.
        ("0 0 */2 * 1", "2026-06-30T12:00", ["07-01T00:00:00+02:00", "07-03T00:00:00+02:00"],
         ["07-13T00:00:00+02:00", "07-27T00:00:00+02:00"]),
        # L, W and # are days like others: with both day fields restricted one of them suffices.
        ("0 0 15W * 1", "2026-06-30T12:00", ["07-15T00:00:00+02:00", "08-14T00:00:00+02:00"],
         ["07-06T00:00:00+02:00", "07-13T00:00:00+02:00"]),
        # The sixth field is the second and comes first, as in Quartz, Spring and node-cron; croniter's comes last.
        ("0 5 9 1 * *", "2026-06-30T12:00", ["01-09T05:00:00+01:00", "01-09T05:00:01+01:00"],
         ["07-01T09:05:00+02:00", "08-01T09:05:00+02:00"]),
    ],
)  # fmt: skip
def test_slots_that_differ(text: str, after: str, croniter_says: list[str], we_say: list[str]) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert [slot[5:] for slot in croniters(text, "Europe/Berlin", moment)][:2] == croniter_says
    assert [slot[5:] for slot in ours(text, "Europe/Berlin", moment)][:2] == we_say


@pytest.mark.parametrize("text", ["30 * * * *", "*/20 * * * *", "30 2,3 * * *", "30 2 * * *"])
def test_the_spring_gap_is_croniters(text: str) -> None:
    after = datetime(2026, 3, 29, 0, 10, tzinfo=UTC)
    assert ours(text, "Europe/Berlin", after) == croniters(text, "Europe/Berlin", after)


@pytest.mark.parametrize("text", ["30 * * * *", "*/20 * * * *", "* * * * *"])
def test_schedules_of_every_hour_go_on_in_the_overlap_as_in_croniter(text: str) -> None:
    after = datetime(2026, 10, 24, 23, 50, tzinfo=UTC)
    assert ours(text, "Europe/Berlin", after) == croniters(text, "Europe/Berlin", after)


@pytest.mark.parametrize(
    "text",
    [
        "*/70 * * * *",  # a step beyond the field is a mistake, not 0
        "0 0 30 2 *",  # never fires: croniter finds out when it searches
    ],
)
def test_only_croniter_takes(text: str) -> None:
    assert croniter(text)
    with pytest.raises(BadInput):
        ours(text, "UTC", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("text", ["0 0 * * 5L", "0 0 * * 1,5#3"])
def test_only_we_take(text: str) -> None:
    assert len(ours(text, "UTC", datetime(2026, 1, 1, tzinfo=UTC))) == COUNT
    with pytest.raises(ValueError):
        croniter(text)
