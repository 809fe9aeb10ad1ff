"""Schedules: slots, time zones, RRULEs, refusals, and the index over them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from b3os.detect.cron_index import CronIndex
from b3os.detect.schedules import parse_schedule, slot_text
from b3os.errors import BadInput


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
    assert slot_text(parse_schedule(payload)(at(after)) or 0) == slot_text(at(expected))


def test_rule_that_is_over_has_no_next_slot() -> None:
    assert parse_schedule({"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;COUNT=2"})(at("2026-02-01")) is None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"schedule": "* * * *"},
        {"schedule": "* * * * * *"},
        {"schedule": "61 * * * *"},
        {"schedule": "0 0 31 2 *"},
        {"schedule": "* * * * *", "timezone": "Mars/Olympus"},
        {"rrule": "RRULE:FREQ=DAILY"},
        {"rrule": "DTSTART:soon\nRRULE:FREQ=DAILY"},
        {"rrule": "DTSTART:20260101T000000Z\nRRULE:FREQ=SECONDLY;COUNT=3"},
    ],
)
def test_bad_schedule_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        parse_schedule(payload)


def every(period: int) -> Any:
    return lambda after: (after // period + 1) * period


def test_due_slots_come_once_and_only_the_newest_after_downtime() -> None:
    index: CronIndex[str] = CronIndex()
    index.put(("w", "a"), every(10), "a", 5)
    assert index.due(9) == []
    assert index.due(10) == [(10, "a")]
    assert index.due(10) == []
    assert index.due(1000) == [(1000, "a")]


def test_replaced_and_dropped_triggers_fire_no_more() -> None:
    index: CronIndex[str] = CronIndex()
    index.put(("w", "a"), every(10), "old", 0)
    index.put(("w", "a"), every(7), "new", 0)
    index.put(("w", "b"), every(10), "gone", 0)
    index.drop(("w", "b"))
    assert index.due(13) == [(7, "new")]


def test_rearming_goes_on_where_the_last_owner_stopped() -> None:
    index: CronIndex[str] = CronIndex()
    index.put(("w", "a"), every(10), "a", 100)
    index.rearm(40)
    assert index.due(100) == [(100, "a")]
