"""The obvious model of cron: walk every day, hour, minute and second of the wall clock; and of a timetable: a dict."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MONTHS = ["", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(text: str, names: list[str]) -> int:
    return names.index(text) if text in names else int(text)


def values(field: str, low: int, high: int, names: list[str] = []) -> set[int]:  # noqa: B006
    """The values of a field, counted around the clock one by one."""
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        elif "-" in span:
            first, last = (number(end, names) for end in span.split("-"))
        else:
            first = number(span, names)
            last = high if step else first
        value, steps = first, 0
        while True:
            if steps % int(step or 1) == 0:
                found.add(value)
            if value == last:
                break
            value, steps = (low if value == high else value + 1), steps + 1
    return found


class CronModel:
    """A cron text in a time zone."""

    def __init__(self, text: str, zone: str) -> None:
        fields = text.upper().split()
        second, minute, hour, self.day, month, self.weekday = fields if len(fields) == 6 else ["0", *fields]
        self.seconds, self.minutes, self.hours = values(second, 0, 59), values(minute, 0, 59), values(hour, 0, 23)
        self.months = values(month, 1, 12, MONTHS)
        self.zone = ZoneInfo(zone)

    def day_part_matches(self, part: str, day: date) -> bool:
        last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        if part == "L":
            return day == last
        if part.endswith("W"):
            return int(part[:-1]) <= last.day and day == nearest_working_day(day.replace(day=int(part[:-1])), last)
        return day.day in values(part, 1, 31)

    def weekday_part_matches(self, part: str, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if "#" in part:
            name, nth = part.split("#")
            return number(name, WEEKDAYS) % 7 == weekday and (day.day + 6) // 7 == int(nth)
        if part[0] == "L" or part[-1] == "L":
            return number(part.strip("L"), WEEKDAYS) % 7 == weekday and (day + timedelta(days=7)).month != day.month
        if "-" not in part:
            high = 6 if part[0] in "*?" else 7
            return weekday in {value % 7 for value in values(part, 0, high, WEEKDAYS)}
        first, last = (number(end, WEEKDAYS) for end in part.split("/")[0].split("-"))
        step = int(part.split("/")[1]) if "/" in part else 1
        return weekday in {value % 7 for value in range(first, (last if first <= last else last + 7) + 1, step)}

    def is_day(self, day: date) -> bool:
        by_day = any(self.day_part_matches(part, day) for part in self.day.split(","))
        by_weekday = any(self.weekday_part_matches(part, day) for part in self.weekday.split(","))
        either = self.day[0] not in "*?" and self.weekday[0] not in "*?"
        return day.month in self.months and (by_day or by_weekday if either else by_day and by_weekday)

    def slots(self, after: int, before: int) -> list[int]:
        """All slots after one time and up to another."""
        found: set[int] = set()
        day = datetime.fromtimestamp(after, self.zone).date() - timedelta(days=2)
        while day <= datetime.fromtimestamp(before, self.zone).date() + timedelta(days=2):
            if self.is_day(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        for second in self.seconds:
                            found |= self.instants(datetime.combine(day, time(hour, minute, second)))
            day += timedelta(days=1)
        return sorted(slot for slot in found if after < slot <= before)

    def instants(self, wall: datetime) -> set[int]:
        """When the clock on the wall shows a time: twice in the overlap, never in the gap."""
        real = {unix(wall.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1)}
        real = {t for t in real if datetime.fromtimestamp(t, self.zone).replace(tzinfo=None) == wall}
        if len(self.hours) == 24:
            return real
        while not real:  # the gap: go on to its end
            wall += timedelta(seconds=1)
            t = unix(wall.replace(tzinfo=self.zone, fold=0))
            real = {t} if datetime.fromtimestamp(t, self.zone).replace(tzinfo=None, fold=0) == wall else set()
        return {min(real)}


def nearest_working_day(day: date, last: date) -> date:
    if day.isoweekday() == 6:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.isoweekday() == 7:
        return day + timedelta(days=1) if day < last else day - timedelta(days=2)
    return day


def unix(moment: datetime) -> int:
    return int((moment - EPOCH).total_seconds())


class TimetableModel:
    """Numbers with the function that gives their slots, since when, and what becomes of missed ones."""

    def __init__(self, through: int) -> None:
        self.through = through
        self.rows: dict[int, tuple[Callable[[int, int], list[int]], int, str]] = {}
        self.fired: dict[int, int] = {}

    def put(self, slot: int, slots_between: Callable[[int, int], list[int]], since: int, missed: str) -> None:
        fired = since
        if slot in self.rows:  # what the old one fired is done, what it still owes is not
            owed = self.rows[slot][0](self.fired[slot], self.through)
            fired = max(since, owed[0] - 1 if owed else self.through)
        self.fired[slot] = fired
        self.rows[slot] = (slots_between, since, missed)

    def drop(self, slot: int) -> bool:
        return self.rows.pop(slot, None) is not None

    def rearm(self, through: int) -> None:
        self.through = through
        self.fired = {slot: max(since, through) for slot, (_, since, _) in self.rows.items()}

    def due(self, now: int, late: int, limit: int) -> list[tuple[int, int]]:
        """Every slot up to now, thinned out as the policy says."""
        found = []
        for slot, (slots_between, _, missed) in self.rows.items():
            times = slots_between(self.fired[slot], now)
            self.fired[slot] = max(now, self.fired[slot])
            if missed == "all":
                times = times[-limit:]
            elif missed == "once":
                times = times[-1:]
            else:
                times = [time for time in times[-1:] if time >= now - late]
            found += [(slot, time) for time in times]
        self.through = max(now, self.through)
        return sorted(found)
