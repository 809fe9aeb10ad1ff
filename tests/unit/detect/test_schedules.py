"""Schedules: slots, time zones, RRULEs against dateutil, refusals, and the index over them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from b3os._speedups.cron import ALL, ONCE, SKIP, WINDOW, period
from b3os.detect.cron_index import CronIndex, compute_window
from b3os.detect.schedules import next_slots, parse_missed, parse_schedule, slot_text
from b3os.errors import BadInput
from tests.examples import examples


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("payload", "after", "expected"),
    [
        ({"schedule": "*/5 * * * *"}, "2026-01-01T00:02", "2026-01-01T00:05"),
        ({"cron": "0 9 * * 1-5"}, "2026-01-02T10:00", "2026-01-05T09:00"),
        ({"schedule": "30 2 * * *", "timezone": "America/New_York"}, "2026-03-08T05:00", "2026-03-08T07:00"),
        ({"schedule": "0 0 29 2 *"}, "2026-01-01T00:00", "2028-02-29T00:00"),
        ({"schedule": "@daily", "timezone": "Asia/Tokyo"}, "2026-01-01T00:00", "2026-01-01T15:00"),
        (
            {"rrule": "DTSTART:20200101T000007Z\nRRULE:FREQ=SECONDLY;INTERVAL=10"},
            "2026-01-01T00:00",
            "2026-01-01T00:00:07",
        ),
        ({"rrule": "DTSTART:20260601T093000Z\nRRULE:FREQ=DAILY"}, "2026-01-01T00:00", "2026-06-01T09:30"),
        ({"rrule": "DTSTART:20260101T090000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO"}, "2026-01-01T10:00", "2026-01-05T09:00"),
    ],
)
def test_next_slot(payload: dict[str, Any], after: str, expected: str) -> None:
    assert slot_text(next_slots(payload, at(after), 1)[0]) == slot_text(at(expected))


def test_next_five_cross_the_change_of_clocks() -> None:
    slots = next_slots({"schedule": "30 2 * * *", "timezone": "Europe/Berlin"}, at("2026-10-23T12:00"), 5)
    assert [slot_text(slot)[5:16] for slot in slots] == [
        "10-24T00:30", "10-25T00:30", "10-26T01:30", "10-27T01:30", "10-28T01:30",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rule", ["FREQ=DAILY;COUNT=2", "FREQ=DAILY;UNTIL=20260103T000000Z", "FREQ=DAILY;UNTIL=20260103"]
)
def test_rule_that_is_over_has_no_next_slot(rule: str) -> None:
    assert next_slots({"rrule": f"DTSTART:20260101T000000Z\nRRULE:{rule}"}, at("2026-02-01"), 5) == []


RULES = st.builds(
    "FREQ={};INTERVAL={}{}{}{}{}".format,
    st.sampled_from(["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    st.integers(1, 5),
    st.sampled_from(["", ";BYDAY=MO,FR", ";BYMONTHDAY=1,-1", ";BYDAY=MO,TU;BYSETPOS=-1", ";BYMONTHDAY=29;BYMONTH=2"]),
    st.sampled_from(["", ";BYHOUR=5,17", ";BYMINUTE=0,30"]),
    st.sampled_from(["", ";WKST=SU"]),
    st.sampled_from(["", "", ";COUNT=30", ";UNTIL=20240131T120000Z"]),
)


@settings(max_examples=examples(40))
@given(RULES, st.sampled_from(["2020-02-29T05:30:07", "2023-12-31T23:00:00"]), st.integers(0, 3 * 366 * 86_400))
def test_rules_are_those_of_dateutil(rule: str, start_text: str, later: int) -> None:
    start = datetime.fromisoformat(start_text).replace(tzinfo=UTC)
    after = datetime.fromtimestamp(start.timestamp() + later, UTC)
    try:
        found = next_slots({"rrule": f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nRRULE:{rule}"}, int(after.timestamp()), 5)
    except BadInput:
        found = []
    text = rule if "COUNT" in rule or "UNTIL" in rule else f"{rule};UNTIL=20500101T000000Z"
    try:
        expected = [int(moment.timestamp()) for moment in rrulestr(text, dtstart=start).xafter(after, count=5)]
    except ValueError:  # dateutil sees some of the rules that never fire
        expected = []
    assert [slot for slot in found if slot < at("2050-01-01")] == expected


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"schedule": "* * * *"},
        {"schedule": "* * * * * * *"},
        {"schedule": "0 0 * 2 1#6"},
        {"schedule": "*/0 * * * *"},
        {"schedule": "@reboot"},
        {"schedule": "* * * * *", "timezone": "../../etc/passwd"},
        {"schedule": "61 * * * *"},
        {"schedule": "0 0 31 2 *"},
        {"schedule": "* * * * *", "timezone": "Mars/Olympus"},
        {"rrule": "RRULE:FREQ=DAILY"},
        {"rrule": "DTSTART:soon\nRRULE:FREQ=DAILY"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=SECONDLY;COUNT=3"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=HOURLY;INTERVAL=24;BYHOUR=5"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;INTERVAL=0"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;COUNT=99999999"},
        {"rrule": "DTSTART:00010101T000000Z\nRRULE:FREQ=DAILY"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;BYEASTER=1"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;BYDAY=XX"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;UNTIL=soon"},
    ],
)
def test_bad_schedule_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        parse_schedule(payload)


@settings(max_examples=examples(300))
@given(st.text("FREQ=DAILYHOUNTBSMK;0123456789-,+Z:\n", max_size=60), st.booleans())
def test_any_rrule_is_a_schedule_or_bad_input(text: str, is_near: bool) -> None:
    rule = f"DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;{text}" if is_near else text
    try:
        found = next_slots({"rrule": rule}, at("2026-01-01"), 1)
    except BadInput as error:
        found = [error.code]
    assert found == [] or found[0] in (400330, 400331) or found[0] > at("2026-01-01")


def test_equal_texts_share_a_schedule() -> None:
    one = parse_schedule({"schedule": "*/5  * * * *"})
    assert one is parse_schedule({"cron": " */5 * * * *"})
    assert one is not parse_schedule({"schedule": "*/5 * * * *", "timezone": "Asia/Tokyo"})


def test_a_zone_called_rrule_is_no_rule() -> None:
    with pytest.raises(BadInput, match="no time zone"):
        parse_schedule({"schedule": "* * * * *", "timezone": "rrule"})


def test_policy_is_once_unless_it_is_said() -> None:
    assert [parse_missed(p) for p in ({}, {"missed": "skip"}, {"missed": "all"})] == [ONCE, SKIP, ALL]
    for wrong in ("never", 1, ["once"]):
        with pytest.raises(BadInput, match="missed"):
            parse_missed({"missed": wrong})


START = at("2026-01-01")


def index_of(*numbers: int, missed: int = ONCE) -> CronIndex:
    index = CronIndex(START)
    for number in numbers:
        index.put(number, period(0, number), since_s=START, missed=missed)
    return index


def test_due_slots_come_once_and_only_the_newest_after_downtime() -> None:
    index = index_of(10)
    assert index.due(START + 9, 100) == []
    assert index.due(START + 10, 100) == [(START + 10, 10)]
    assert index.due(START + 10, 100) == []
    assert index.due(START + 1000, 100) == [(START + 1000, 10)]


def test_missed_slots_are_left_out_or_all_run() -> None:
    assert index_of(3600, missed=SKIP).due(START + 7300, 100) == []
    assert index_of(3600, missed=SKIP).due(START + 7230, 100) == [(START + 7200, 3600)]
    assert index_of(3600, missed=ALL).due(START + 7300, 100) == [(START + 3600, 3600), (START + 7200, 3600)]
    newest = index_of(10, missed=ALL).due(START + 100_000, 1000)
    assert [slot for slot, _ in newest] == list(range(START + 99_010, START + 100_001, 10))


def test_replaced_and_dropped_triggers_fire_no_more() -> None:
    index = index_of(10, 20)
    index.put(10, period(0, 7), since_s=START, missed=ONCE)
    index.drop(20)
    assert [number for _, number in index.due(START + 100, 100)] == [10]


def test_rearming_goes_on_where_the_last_owner_stopped_but_not_before_a_trigger_was_there() -> None:
    index = index_of(10)
    index.put(11, period(0, 10), since_s=START + 60, missed=ALL)
    index.rearm(START - 40)
    assert sorted(index.due(START, 100)) == []
    index.rearm(START + 40)
    assert sorted(index.due(START + 70, 100)) == [(START + 70, 10), (START + 70, 11)]


def test_what_does_not_fit_into_a_batch_stays_due() -> None:
    index = index_of(10, 20, 30)
    first = index.due(START + 60, 2)
    assert (len(first), index.through_s) == (2, START + 29)
    assert sorted(row for _, row in first + index.due(START + 60, 2)) == [10, 20, 30]
    assert index.through_s == START + 60


def test_slots_of_a_rule_wait_for_its_window() -> None:
    index = CronIndex(START)
    rule = parse_schedule({"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=HOURLY;BYMINUTE=0,20"})
    index.put(1, rule, since_s=START, missed=ALL)
    found: list[int] = []
    end = START + 200 * 3600
    for now in range(START, end + 1, 1200):
        found += [slot for slot, _ in index.due(now, 100)]
        for schedule, after in index.wanted():
            slots, is_final = compute_window(schedule, after)
            assert len(slots) == WINDOW
            index.fill(schedule, after, slots, is_final)
    found += [slot for slot, _ in index.due(end, 100)]
    assert found == [START + 3600 * hour + minute for hour in range(201) for minute in (0, 1200)][1:-1]
