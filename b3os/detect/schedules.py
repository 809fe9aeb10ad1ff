"""When a cron trigger fires: five-field cron in a time zone, or DTSTART + RRULE. Pure: the caller gives the time.

DST: a slot inside the spring gap fires at the end of the gap; one inside the autumn overlap fires once.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError
from dateutil.rrule import rrulestr

from b3os.errors import BadInput

#: Returns the first slot after a time, both in unix seconds, or None when there is none.
NextAfter = Callable[[int], int | None]

#: Rules of these frequencies without COUNT and BY… parts are computed by arithmetic, however old DTSTART is.
PERIOD_S = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600, "DAILY": 86400, "WEEKLY": 604800}
FAST_ONLY = {"SECONDLY", "MINUTELY"}
_START_FORMAT = "%Y%m%dT%H%M%SZ"
_SOME_DAY = 1_767_225_600  # 2026-01-01: where a schedule is tried once when it is parsed


def parse_schedule(payload: dict[str, Any]) -> NextAfter:
    """Read `schedule` or `cron` (with `timezone`), or `rrule`; raises BadInput with what is wrong."""
    rule = payload.get("rrule")
    text = payload.get("schedule", payload.get("cron"))
    if isinstance(rule, str) and rule.strip():
        return _parse_rrule(rule)
    if isinstance(text, str) and text.strip():
        return _parse_cron(text.strip(), str(payload.get("timezone") or "UTC"))
    raise BadInput("a cron trigger needs `schedule` (five fields) or `rrule` (DTSTART and RRULE)", code=400330)


def _parse_cron(text: str, zone_name: str) -> NextAfter:
    try:
        zone = ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(f"{zone_name!r} is no time zone: use an IANA name such as Europe/Berlin", code=400330) from error
    if not text.startswith("@") and len(text.split()) != 5:
        raise BadInput(f"{text!r} does not have five fields: minute hour day month weekday", code=400330)

    def next_after(after_s: int) -> int | None:
        return int(croniter(text, datetime.fromtimestamp(after_s, zone)).get_next(datetime).timestamp())

    try:
        next_after(_SOME_DAY)
    except (CroniterError, ValueError, KeyError) as error:
        raise BadInput(f"{text!r} is no cron schedule, or never fires: {error}", code=400330) from error
    return next_after


def _parse_rrule(text: str) -> NextAfter:
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    start_text = next((line[8:] for line in lines if line.startswith("DTSTART:")), None)
    rule_text = next((line[6:] for line in lines if line.startswith("RRULE:")), None)
    if start_text is None or rule_text is None or len(lines) != 2:
        raise BadInput("`rrule` has two lines: DTSTART:YYYYMMDDTHHMMSSZ and RRULE:FREQ=…", code=400331)
    try:
        start = datetime.strptime(start_text, _START_FORMAT).replace(tzinfo=UTC)
        parts = dict(part.split("=", 1) for part in rule_text.split(";"))
        rule = rrulestr(f"RRULE:{rule_text}", dtstart=start)
        interval = int(parts.get("INTERVAL", "1"))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"`rrule` cannot be read: {error}", code=400331) from error
    frequency = parts.get("FREQ", "")
    if set(parts) <= {"FREQ", "INTERVAL"} and frequency in PERIOD_S and interval > 0:
        return _every(int(start.timestamp()), PERIOD_S[frequency] * interval)
    if frequency in FAST_ONLY:
        raise BadInput(f"FREQ={frequency} takes INTERVAL only: use HOURLY or longer for other parts", code=400331)

    def next_after(after_s: int) -> int | None:
        found = rule.after(datetime.fromtimestamp(after_s, UTC))
        return None if found is None else int(found.timestamp())

    return next_after


def _every(start_s: int, period_s: int) -> NextAfter:
    def next_after(after_s: int) -> int:
        if after_s < start_s:
            return start_s
        return start_s + ((after_s - start_s) // period_s + 1) * period_s

    return next_after


def slot_text(slot_s: int) -> str:
    """Write a slot as RFC 3339."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=slot_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
