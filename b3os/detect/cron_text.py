"""Cron text as bitmaps: five fields, or six with seconds first. Pure; knows no time zone.

A field is `*`, `?`, a number, a name, a range, a step, or a list of those; a range may wrap (`22-2`, `FRI-MON`). Days
of the month also take `L` and `15W`, weekdays `5#3`, `L5` and `5L`. Weekdays are 0 to 7, Sunday being both 0 and 7.
"""

import re

import msgspec

from b3os.errors import BadInput

CODE = 400330
LONGEST = 1000

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {name: 1 + i for i, name in enumerate(re.findall("...", "janfebmaraprmayjunjulaugsepoctnovdec"))}
_WEEKDAYS = {name: i for i, name in enumerate(re.findall("...", "sunmontuewedthufrisat"))}
#: The same weekday in each of the five weeks of a month.
_EACH_WEEK = 0x10204081


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """What the text says, as the compiled core takes it: bit n of a field is the value n.

    Bit 7 * (n - 1) + w of `weekdays` is the n-th weekday w of a month. `is_either`: one of the two day fields suffices.
    """

    seconds: int
    minutes: int
    hours: int
    days: int
    near_days: int
    has_last_day: bool
    months: int
    weekdays: int
    last_weekdays: int
    is_either: bool


class _Unit(msgspec.Struct, frozen=True):
    name: str
    low: int
    high: int
    names: dict[str, int] = {}


_SECOND, _MINUTE, _HOUR = _Unit("second", 0, 59), _Unit("minute", 0, 59), _Unit("hour", 0, 23)
_DAY, _MONTH, _WEEKDAY = _Unit("day", 1, 31), _Unit("month", 1, 12, _MONTHS), _Unit("weekday", 0, 7, _WEEKDAYS)


def parse_cron(text: str) -> Fields:
    """Read cron text; raises BadInput that names the field."""
    if len(text) > LONGEST:
        raise BadInput(f"a cron schedule has at most {LONGEST} characters: shorten it", code=CODE)
    text = text.strip().lower()
    if text.startswith("@"):
        if text not in MACROS:
            raise BadInput(f"{text!r} is no schedule: use one of {', '.join(MACROS)}", code=CODE)
        text = MACROS[text]
    fields = text.split()
    if len(fields) not in (5, 6):
        raise BadInput(
            f"{text!r} has {len(fields)} fields: write minute hour day month weekday, or a second before them",
            code=CODE,
        )
    second, minute, hour, day, month, weekday = fields if len(fields) == 6 else ["0", *fields]
    days, near_days, has_last_day = _days(day)
    weekdays, last_weekdays = _weekdays(weekday)
    return Fields(
        seconds=_bits(second, _SECOND),
        minutes=_bits(minute, _MINUTE),
        hours=_bits(hour, _HOUR),
        days=days,
        near_days=near_days,
        has_last_day=has_last_day,
        months=_bits(month, _MONTH),
        weekdays=weekdays,
        last_weekdays=last_weekdays,
        # As in Vixie cron: a field that begins with * (also */2) does not restrict.
        is_either=day[0] not in "*?" and weekday[0] not in "*?",
    )


def _bits(field: str, unit: _Unit) -> int:
    bits = 0
    for part in field.split(","):
        bits |= _part(part, unit)
    return bits


def _part(part: str, unit: _Unit) -> int:
    span, slash, step_text = part.partition("/")
    step = _number(step_text, unit, part) if slash else 1
    if not 1 <= step <= unit.high:
        raise BadInput(f"{part!r} in the {unit.name} field: a step is 1 to {unit.high}", code=CODE)
    if span in ("*", "?"):
        values = range(unit.low, (6 if unit is _WEEKDAY else unit.high) + 1, step)
    else:
        first, dash, last = span.partition("-")
        low = _value(first, unit, part)
        high = _value(last, unit, part) if dash else (unit.high if slash else low)
        if low <= high:
            values = range(low, high + 1, step)
        else:
            count = 7 if unit is _WEEKDAY else unit.high - unit.low + 1
            values = range(low, high + count + 1, step)
            return sum({1 << ((value - unit.low) % count + unit.low) for value in values})
    return sum({1 << (value % 7 if unit is _WEEKDAY else value) for value in values})


def _value(text: str, unit: _Unit, part: str) -> int:
    value = unit.names[text] if text in unit.names else _number(text, unit, part)
    if not unit.low <= value <= unit.high:
        raise BadInput(f"{part!r} in the {unit.name} field: it goes from {unit.low} to {unit.high}", code=CODE)
    return value


def _number(text: str, unit: _Unit, part: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise BadInput(f"{part!r} in the {unit.name} field is not understood: see docs/cron.md", code=CODE)
    return int(text)


def _days(field: str) -> tuple[int, int, bool]:
    days, near_days, has_last_day = 0, 0, False
    for part in field.split(","):
        if part == "l":
            has_last_day = True
        elif part.endswith("w"):
            near_days |= 1 << _value(part[:-1], _DAY, part)
        else:
            days |= _part(part, _DAY)
    return days, near_days, has_last_day


def _weekdays(field: str) -> tuple[int, int]:
    weekdays, last_weekdays = 0, 0
    for part in field.split(","):
        day, hash_, nth = part.partition("#")
        if hash_:
            if nth not in ("1", "2", "3", "4", "5"):
                raise BadInput(f"{part!r} in the weekday field: # is followed by 1 to 5", code=CODE)
            weekdays |= 1 << (7 * (int(nth) - 1) + _value(day, _WEEKDAY, part) % 7)
        elif len(part) > 1 and (part[0] == "l" or part[-1] == "l"):
            last_weekdays |= 1 << _value(part[1:] if part[0] == "l" else part[:-1], _WEEKDAY, part) % 7
        else:
            weekdays |= _part(part, _WEEKDAY) * _EACH_WEEK
    return weekdays, last_weekdays
