"""Compiled schedules and the timetable against their models, over generated texts, zones, times and histories."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo._zoneinfo import ZoneInfo as PythonZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from b3os._speedups import cron
from b3os.detect.cron_text import MACROS
from b3os.detect.schedules import POLICIES, parse_schedule
from b3os.detect.zones import _file_of, changes_of
from b3os.errors import BadInput
from tests.examples import examples
from tests.reference.cron import MONTHS, WEEKDAYS, CronModel, TimetableModel

DAY = 86_400
YEAR_2199 = 7_226_582_400
#: Half an hour of daylight saving, a day left out, changes at midnight, Ramadan, no changes, far from UTC.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Beirut",
         "Africa/Casablanca", "Asia/Kolkata", "Pacific/Kiritimati", "America/Santiago"]  # fmt: skip
#: Days around changes of clocks, and others; each in unix seconds.
MOMENTS = [
    int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    for text in (
        "2026-03-08T06:00", "2026-03-29T00:30", "2026-10-25T00:30", "2026-11-01T05:30", "2026-04-04T14:30",
        "2026-10-03T15:30", "2011-12-29T09:00", "2026-02-15T01:00", "2026-03-22T01:00", "2028-02-28T12:00",
        "2099-12-31T22:00", "2100-02-28T00:00",
    )
]  # fmt: skip


def spans(low: int, high: int, names: list[str]) -> st.SearchStrategy[str]:
    """Parts of a field."""
    value = st.integers(low, high).map(str)
    if names:
        value |= st.sampled_from([name for name in names if name])
    step = st.sampled_from(["", "/1", "/2", "/5"])
    return st.one_of(value, st.builds("{}-{}{}".format, value, value, step), st.builds("{}{}".format, value, step))


def fields(low: int, high: int, *more: str, names: list[str] = []) -> st.SearchStrategy[str]:  # noqa: B006
    part = spans(low, high, names)
    for extra in more:
        part |= st.just(extra)
    return st.one_of(st.sampled_from(["*", "*/2", "?"]), st.lists(part, min_size=1, max_size=3).map(",".join))


TEXTS = st.builds(
    "{}{} {} {} {} {}".format,
    st.sampled_from(["", "", "", "0 ", "*/30 ", "7,59 "]),
    st.one_of(st.sampled_from(["0", "30", "*/15"]), fields(0, 59)),
    st.one_of(st.sampled_from(["*", "2", "0-3"]), fields(0, 23)),
    st.one_of(st.just("*"), fields(1, 31, "L", "1W", "15W", "31W")),
    st.one_of(st.just("*"), fields(1, 12, names=MONTHS)),
    st.one_of(st.just("*"), fields(0, 7, "5#3", "FRI#5", "L1", "SUNL", "0#1", names=WEEKDAYS)),
)


def schedule_or_none(text: str, zone: str) -> cron.Schedule | None:
    """Return None for a text that never fires; anything else wrong with it fails the test."""
    try:
        return parse_schedule({"schedule": text, "timezone": zone})
    except BadInput as error:
        if "never fires" in error.message:
            return None
        raise


@settings(deadline=None)
@given(TEXTS, st.sampled_from(ZONES), st.sampled_from(MOMENTS), st.integers(-2 * DAY, 2 * DAY))
@example("30 2 * * *", "Europe/Berlin", MOMENTS[1], 0)
@example("30 2 * * *", "Europe/Berlin", MOMENTS[2], 0)
@example("30 * * * *", "Europe/Berlin", MOMENTS[1], 0)
@example("*/15 * * * *", "Europe/Berlin", MOMENTS[2], 0)
@example("0 9 30 12 *", "Pacific/Apia", MOMENTS[6], 0)
def test_slots_of_three_days_are_those_of_the_wall_clock(text: str, zone: str, moment: int, shift: int) -> None:
    schedule = schedule_or_none(text, zone)
    after = moment + shift
    expected = CronModel(text, zone).slots(after, after + 3 * DAY)
    found: list[int] = []
    slot = None if schedule is None else schedule.next_after(after)
    while slot is not None and slot <= after + 3 * DAY and len(found) <= len(expected):
        found.append(slot)
        slot = schedule.next_after(slot)
    assert found == expected


@settings(deadline=None, max_examples=examples(30))
@given(st.builds("0 3 {} {} {}".format, fields(1, 31, "L"), fields(1, 12), fields(0, 7, "1#5", "L0")))
@example("0 3 29 2 *")
@example("0 3 * 2 1#5")
def test_far_slots_are_found(text: str) -> None:
    schedule = schedule_or_none(text, "Europe/Berlin")
    if schedule is None:
        assert CronModel(text, "Europe/Berlin").slots(MOMENTS[0], MOMENTS[0] + 28 * 366 * DAY) == []
        return
    slot = schedule.next_after(MOMENTS[0])
    assert slot is not None
    assert CronModel(text, "Europe/Berlin").slots(MOMENTS[0], slot)[:2] == [slot]


@pytest.mark.parametrize("macro", MACROS)
def test_macros_are_their_fields(macro: str) -> None:
    assert parse_schedule({"schedule": macro}).next_after(MOMENTS[0]) == parse_schedule(
        {"schedule": MACROS[macro]}
    ).next_after(MOMENTS[0])


#: Near cron, so that parsing goes deep.
NEAR = st.text("0123456789*/-,?#LW @adhilymonskefrtu\t\N{ARABIC-INDIC DIGIT TWO}\0", max_size=40)


@settings(deadline=None, max_examples=examples(500))
@given(NEAR | TEXTS.flatmap(lambda text: st.permutations(text).map("".join)), NEAR | st.sampled_from(ZONES))
@example("0 0 30 2 *", "UTC")
@example("0 0 31 2,4,6,9,11 *", "UTC")
@example("0 0 * * 1#6", "UTC")
@example("9" * 5000 + " * * * *", "UTC")
@example("* * * * *", "../../etc/passwd")
@example("* * * * *", "\0")
def test_any_text_is_a_schedule_or_bad_input(text: str, zone: str) -> None:
    try:
        found = parse_schedule({"schedule": text, "timezone": zone}).next_after(MOMENTS[0]) or 0
    except BadInput as error:
        found = error.code
    assert found == 400330 or found > MOMENTS[0]


@pytest.mark.parametrize("letter", sorted({name[0] for name in zoneinfo.available_timezones()}))
def test_zone_changes_are_those_of_the_files(letter: str) -> None:
    for name in sorted(name for name in zoneinfo.available_timezones() if name[0] == letter):
        changes = changes_of(_file_of(name))
        whole: Any = PythonZoneInfo(name)  # only the Python implementation shows its table
        table = [
            (start, kind.utcoff) for start, kind in zip(whole._trans_utc, whole._ttinfos, strict=True) if start > 0
        ]
        before = changes[0][1]
        expected = []
        for start, offset in table:
            if offset.total_seconds() != before:
                expected.append((start, before := offset.total_seconds()))
        ruled = changes[len(expected) + 1 :]
        assert changes[1 : len(expected) + 1] == expected, name
        for start, offset in ruled:
            moments = (datetime.fromtimestamp(start - 1, whole), datetime.fromtimestamp(start, whole))
            assert moments[0].utcoffset() != moments[1].utcoffset() == timedelta(seconds=offset), name
        last = [offset_of(whole, day) for day in range(YEAR_2199, YEAR_2199 + 365 * DAY, DAY)]
        assert len(set(last)) == len({offset for start, offset in ruled} or {0}), name


def offset_of(zone: zoneinfo.ZoneInfo, time: int) -> timedelta | None:
    return datetime.fromtimestamp(time, zone).utcoffset()


class Every:
    """A rule as dateutil would be: the slots of a period, in windows."""

    def __init__(self, period: int, last: int) -> None:
        self.period, self.last = period, last

    def between(self, after: int, before: int) -> list[int]:
        first = (after // self.period + 1) * self.period
        return list(range(first, min(before, self.last) + 1, self.period))

    def window(self, after: int, count: int) -> tuple[list[int], bool]:
        found = self.between(after, self.last)[: count + 1]
        return found[:count], len(found) <= count


START = 1_767_225_600
PERIODS = [1, 7, 60, 3600]
RULES = [Every(period, START + period * 900) for period in PERIODS]
FIXED = [
    *((cron.period(0, period), Every(period, 2**40)) for period in PERIODS),
    (parse_schedule({"schedule": "* * * * *"}), Every(60, 2**40)),
    (parse_schedule({"schedule": "*/7 * * * * *"}), None),
]
NUMBERS = st.integers(0, 30)


def between(schedule: Any, every: Every | None) -> Any:
    """The slots between two times, by model, or for irregular text by the schedule that another test compares."""
    if every is not None:
        return every.between

    def walk(after: int, before: int) -> list[int]:
        found, slot = [], schedule.next_after(after)
        while slot <= before:
            found.append(slot)
            slot = schedule.next_after(slot)
        return found

    return walk


class Histories(RuleBasedStateMachine):
    """Puts, drops and take-overs in any order; what is due is the same, whatever the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.table, self.model = cron.Timetable(self.now), TimetableModel(self.now)
        self.schedules = [*FIXED, *((cron.computed(one), one) for one in RULES)]

    @rule(slot=NUMBERS, which=st.integers(0, 9), ago=st.integers(-100, 4000), missed=st.sampled_from([*POLICIES]))
    def put(self, slot: int, which: int, ago: int, missed: str) -> None:
        self.fill()  # what a replaced trigger still owes is known to the slot
        self.table.put(slot, self.schedules[which][0], self.now - ago, POLICIES[missed])
        self.model.put(slot, between(*self.schedules[which]), self.now - ago, missed)

    def fill(self) -> None:
        while wanted := self.table.wanted():
            for schedule, after in wanted:
                times, is_final = schedule.rule.window(after, cron.WINDOW)
                self.table.fill(schedule, after, times, is_final)

    @rule(slot=NUMBERS)
    def drop(self, slot: int) -> None:
        assert self.table.drop(slot) == self.model.drop(slot)

    @rule(back=st.integers(0, 4000))
    def take_over(self, back: int) -> None:
        self.table.rearm(self.now - back)
        self.model.rearm(self.now - back)

    @rule(forward=st.sampled_from([0, 1, 5, 61, 3600]), limit=st.sampled_from([1, 3, 1000]))
    def due(self, forward: int, limit: int) -> None:
        self.now += forward
        found: list[tuple[int, int]] = []
        while True:
            due = self.table.due(self.now, limit)
            found += [(number, slot) for slot, numbers in due.items() for number in numbers]
            through = self.table.through
            self.fill()
            if through >= self.now:
                break
        assert sorted(found) == self.model.due(self.now, cron.LATE_S, cron.MISSED_LIMIT)
        assert self.table.due(self.now) == {}

    @invariant()
    def counts(self) -> None:
        assert len(self.table) == len(self.model.rows)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=examples(60), stateful_step_count=20, deadline=None)


def test_numbers_are_used_again() -> None:
    table = cron.Timetable(START)
    for _ in range(20):
        for slot in range(50):
            table.put(slot, FIXED[0][0], START, cron.ONCE)
        size = table.memory()
        for slot in range(50):
            assert table.drop(slot)
    assert (table.memory(), len(table), table.due(2 * START)) == (size, 0, {})


@pytest.mark.parametrize(
    "act",
    [
        lambda: cron.Timetable(0).put(-1, FIXED[0][0], 0, cron.ONCE),
        lambda: cron.Timetable(0).put(2**28, FIXED[0][0], 0, cron.ONCE),
        lambda: cron.Timetable(0).put(0, FIXED[0][0], 0, 3),
        lambda: cron.Timetable(0).fill(cron.computed(None), 2 * DAY, [START, START], False),
        lambda: cron.Timetable(0).fill(cron.computed(None), 2 * DAY, [], False),
        lambda: cron.period(0, 0),
        lambda: cron.period(2**62, 1),
        lambda: cron.Zone([], []),
        lambda: cron.Zone([0, 5, 5], [0, 1, 2]),
        lambda: cron.Zone([0], [DAY]),
    ],
)
def test_what_does_not_fit_is_refused(act: Any) -> None:
    with pytest.raises(ValueError):
        act()


def test_a_window_that_is_used_up_says_so() -> None:
    with pytest.raises(LookupError, match="window"):
        cron.computed(RULES[0]).next_after(START)
