"""Cron: a minute boundary at which 100,000 schedules are due, and next times against croniter and the model."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from b3os._speedups.cron import ONCE, Timetable
from b3os.detect.schedules import parse_schedule
from bench.report import Gate, medians, remark
from tests.reference.cron import CronModel

START = 1_767_225_600  # 2026-01-01
TEXTS = ("*/5 * * * *", "0 9 * * 1-5", "30 2 1,15 * *", "15 */6 * 3-10 *")
ZONE = "Europe/Berlin"


def boundary() -> float:
    """Milliseconds to match and re-arm 100,000 due triggers with 1,000 schedules, among 200,000."""
    schedules = [
        parse_schedule({"schedule": f"0,{minute} {hour}-23,0 * * *", "timezone": "UTC"})
        for minute in range(1, 51)
        for hour in range(1, 21)
    ]
    later = parse_schedule({"schedule": "30 12 * * *"})
    table = Timetable(START - 1)
    began = time.perf_counter()
    for slot in range(100_000):
        table.put(2 * slot, schedules[slot % len(schedules)], START - 1, ONCE)
        table.put(2 * slot + 1, later, START - 1, ONCE)
    remark(f"put: {(time.perf_counter() - began) * 5_000:.0f} ns a trigger; {table.memory() / 200_000:.0f} bytes each")

    def tick() -> None:
        assert len(table.due(START)[START]) == 100_000

    times = []
    for _ in range(7):
        times += medians(1, tick)
        table.rearm(START - 1)
    return sorted(times)[3] * 1000


def against_croniter() -> float:
    """Next times of four schedules in a zone with daylight saving; croniter warm, each walk its own."""
    schedules = [parse_schedule({"schedule": text, "timezone": ZONE}) for text in TEXTS]
    walks = [croniter(text, datetime.fromtimestamp(START, ZoneInfo(ZONE))) for text in TEXTS]

    def ours() -> None:
        for schedule in schedules:
            slot = START
            for _ in range(500):
                slot = schedule.next_after(slot) or 0

    def theirs() -> None:
        for walk in walks:
            for _ in range(5):
                walk.get_next(float)

    fast, slow = medians(9, ours, theirs)
    return slow * 100 / fast


def against_model() -> float:
    """The slots of a day, and of the model that walks the wall clock."""
    schedule = parse_schedule({"schedule": TEXTS[0], "timezone": ZONE})
    end = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp())
    model = CronModel(TEXTS[0], ZONE)

    def ours() -> None:
        slot = START
        while slot < end:
            slot = schedule.next_after(slot) or end

    fast, slow = medians(9, ours, lambda: model.slots(START, end))
    return slow / fast


GATES = (
    Gate(
        name="100,000 cron triggers due in one tick, matched and re-armed", bar=50, measure=boundary, unit="ms",
        reason="at each full hour every other source of the master would wait",
    ),
    Gate(
        name="next cron slot, times croniter", bar=100, at_least=True, measure=against_croniter, is_quick=True,
        reason="a take-over arms every schedule anew before the first slot fires",
    ),
    Gate(
        name="next cron slot, times the reference", bar=20, at_least=True, measure=against_model, is_quick=True,
        reason="the compiled core would not be worth its code",
    ),
)  # fmt: skip
