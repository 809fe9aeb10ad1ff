"""DTSTART + RRULE: a plain period becomes arithmetic, anything else windows of slots out of dateutil. Pure.

dateutil searches until the year 9999, second by second if need be. Three rules keep each answer below half a second:
DTSTART moves forward by whole intervals, unless COUNT counts from it; the search happens 7,600 years later, 19 times
the cycle in which the calendar repeats, so that it ends within 400 years; and frequencies below HOURLY take INTERVAL
only.
"""

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
from dateutil.rrule import rrule, rrulestr

from b3os._speedups.cron import Schedule, computed, period
from b3os.errors import BadInput

CODE = 400331
PERIOD_S = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600, "DAILY": 86_400, "WEEKLY": 604_800}
FREQUENCIES = {"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
PARTS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYSETPOS", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO",
         "BYDAY", "BYHOUR", "BYMINUTE", "BYSECOND"}  # fmt: skip
COUNT_LIMIT = 10_000
INTERVAL_LIMIT = 100_000_000
LONGEST = 1000

_START_FORMAT = "%Y%m%dT%H%M%SZ"
_LATER = timedelta(days=19 * 146_097)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1970, 2200)


class Rule(msgspec.Struct, frozen=True):
    """A rule that only dateutil can compute; `unit_s` is its interval in seconds when DTSTART may move by it, or 0."""

    start: datetime
    text: str
    unit_s: int

    def window(self, after_s: int, count: int) -> tuple[list[int], bool]:
        """Return the next slots after a time, at most `count`, and whether nothing follows them. May take 0.5 s."""
        after = min(max(_EPOCH + timedelta(seconds=after_s), _EPOCH), datetime(2199, 12, 31, tzinfo=UTC))
        start = self.start
        if self.unit_s and after > start:
            unit = timedelta(seconds=self.unit_s)
            start += unit * max(0, (after - start) // unit - 1)
        found = _rule(self.text, start).xafter(after + _LATER, count=count + 1)
        slots = [int((moment - _LATER - _EPOCH).total_seconds()) for moment in itertools.islice(found, count + 1)]
        slots = [slot for slot in slots if slot < 7_258_118_400]
        return slots[:count], len(slots) <= count


def parse_rrule(text: str) -> Schedule:
    """Read the two lines of an `rrule`; raises BadInput."""
    start_text, rule_text = _lines(text)
    try:
        start = datetime.strptime(start_text, _START_FORMAT).replace(tzinfo=UTC)
        parts = dict(part.split("=", 1) for part in rule_text.upper().split(";"))
        interval, count = int(parts.get("INTERVAL", "1")), int(parts.get("COUNT", "1"))
    except ValueError as error:
        raise BadInput(f"`rrule` cannot be read: {error}", code=CODE) from error
    _check(start, parts, interval, count)
    frequency = parts["FREQ"]
    unit_s = PERIOD_S.get(frequency, 0) * interval
    if set(parts) <= {"FREQ", "INTERVAL", "WKST"} and unit_s:
        return period(int(start.timestamp()), unit_s)
    if frequency not in FREQUENCIES:
        raise BadInput(f"FREQ={frequency} takes INTERVAL only: use HOURLY or longer for other parts", code=CODE)
    rule = Rule(start, _later(rule_text.upper(), parts), 0 if "COUNT" in parts else unit_s)
    try:
        found = next(iter(_rule(rule.text, start)), None)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise BadInput(f"`rrule` cannot be read: {error}", code=CODE) from error
    if found is None:
        raise BadInput("`rrule` never fires: no day has all its parts", code=CODE)
    return computed(rule)


def _lines(text: str) -> tuple[str, str]:
    lines = [line.strip() for line in text[:LONGEST].replace("\\n", "\n").splitlines() if line.strip()]
    start_text = next((line[8:] for line in lines if line.startswith("DTSTART:")), None)
    rule_text = next((line[6:] for line in lines if line.startswith("RRULE:")), None)
    if start_text is None or rule_text is None or len(lines) != 2 or len(text) > LONGEST:
        raise BadInput("`rrule` has two lines: DTSTART:YYYYMMDDTHHMMSSZ and RRULE:FREQ=…", code=CODE)
    return start_text, rule_text


def _check(start: datetime, parts: dict[str, str], interval: int, count: int) -> None:
    unknown = set(parts) - PARTS
    if unknown:
        raise BadInput(f"`rrule` has unknown parts {', '.join(sorted(unknown))}: use those of RFC 5545", code=CODE)
    if parts.get("FREQ") not in FREQUENCIES | set(PERIOD_S):
        raise BadInput("`rrule` needs FREQ=SECONDLY, MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY", code=CODE)
    if start.year not in _YEARS:
        raise BadInput("DTSTART lies between 1970 and 2199", code=CODE)
    if not 1 <= interval <= INTERVAL_LIMIT:
        raise BadInput(f"INTERVAL is 1 to {INTERVAL_LIMIT}", code=CODE)
    if not 1 <= count <= COUNT_LIMIT:
        raise BadInput(f"COUNT is 1 to {COUNT_LIMIT}: use UNTIL for longer", code=CODE)


def _later(rule_text: str, parts: dict[str, str]) -> str:
    """Write the rule with UNTIL moved as DTSTART will be; a date alone means its first second, as in dateutil."""
    until = parts.get("UNTIL")
    if until is None:
        return rule_text
    shape = "%Y%m%d" if len(until) == 8 else _START_FORMAT
    try:
        moment = datetime.strptime(until, shape).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadInput(f"UNTIL={until} is no time: write YYYYMMDDTHHMMSSZ", code=CODE) from error
    if moment.year not in _YEARS:
        raise BadInput("UNTIL lies between 1970 and 2199", code=CODE)
    return ";".join(
        f"UNTIL={moment + _LATER:{_START_FORMAT}}" if name == "UNTIL" else f"{name}={value}"
        for name, value in parts.items()
    )


def _rule(text: str, start: datetime) -> rrule:
    found = rrulestr(f"RRULE:{text}", dtstart=start + _LATER)
    assert isinstance(found, rrule), "one RRULE makes one rrule"
    return found
