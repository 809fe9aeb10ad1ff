"""When a cron trigger fires: cron text in a time zone, or DTSTART + RRULE. Pure: the caller gives the time.

Equal texts give the same schedule object, for as long as anybody holds it: a hundred thousand triggers that say
`*/5 * * * *` share one.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from b3os._speedups.cron import ALL, ONCE, SKIP, Schedule, cron
from b3os.detect.cron_text import CODE, parse_cron
from b3os.detect.rrules import Rule, parse_rrule
from b3os.detect.zones import zone_of
from b3os.errors import BadInput

POLICIES = {"skip": SKIP, "once": ONCE, "all": ALL}

#: By zone and text; a rule has no zone.
_known: WeakValueDictionary[tuple[str, str], Schedule] = WeakValueDictionary()


def parse_schedule(payload: dict[str, Any]) -> Schedule:
    """Read `schedule` or `cron` (with `timezone`), or `rrule`; raises BadInput with what is wrong."""
    rule = payload.get("rrule")
    text = payload.get("schedule", payload.get("cron"))
    if isinstance(rule, str) and rule.strip():
        key = ("", rule.strip())
    elif isinstance(text, str) and text.strip():
        key = (str(payload.get("timezone") or "UTC"), " ".join(text.split()))
    else:
        raise BadInput("a cron trigger needs `schedule` (five fields) or `rrule` (DTSTART and RRULE)", code=CODE)
    found = _known.get(key)
    if found is None:
        found = _parse_cron(key[1], key[0]) if key[0] else parse_rrule(key[1])
        _known[key] = found
    return found


def _parse_cron(text: str, zone_name: str) -> Schedule:
    found = cron(**msgspec.structs.asdict(parse_cron(text)), zone=zone_of(zone_name))
    if found is None:
        raise BadInput(f"{text!r} never fires: no year has such a day", code=CODE)
    return found


def parse_missed(payload: dict[str, Any]) -> int:
    """Read what becomes of slots missed in a downtime: `skip`, `once` (when nothing is said) or `all`."""
    missed = payload.get("missed") or "once"
    if not isinstance(missed, str) or missed not in POLICIES:
        raise BadInput("`missed` is skip, once or all: leave it out for once", code=400342)
    return POLICIES[missed]


def next_slots(payload: dict[str, Any], after_s: int, count: int) -> list[int]:
    """Return the next slots after a time, at most `count`; raises BadInput."""
    schedule = parse_schedule(payload)
    if isinstance(schedule.rule, Rule):
        return schedule.rule.window(after_s, count)[0]
    found: list[int] = []
    slot = schedule.next_after(after_s)
    while slot is not None and len(found) < count:
        found.append(slot)
        slot = schedule.next_after(slot)
    return found


def slot_text(slot_s: int) -> str:
    """Write a slot as RFC 3339."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=slot_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
