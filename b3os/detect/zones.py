"""Time zones as the compiled core takes them: the changes of each, read once from the file that `zoneinfo` reads. Pure.

A zone is a TZif file (RFC 9636): a table of changes, and a rule in the form of POSIX TZ for the years after them.
Asking `zoneinfo` itself costs 20 to 50 ms a zone, against 1 ms, and overlooks changes that lie close together.
"""

import re
import struct
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo, ZoneInfoNotFoundError

from b3os._speedups.cron import Zone
from b3os.errors import BadInput

Change = tuple[int, int]

LAST_YEAR = 2199
_HEADER = struct.Struct(">4sc15x6l")
#: A standard and a summer time, and when each begins; without the last three there is no summer time.
_RULE = re.compile(
    r"(?:[A-Za-z]+|<[^>]+>)([-+\d:]+)(?:(?:[A-Za-z]+|<[^>]+>)([-+\d:]*),M([\d.]+)(?:/([-+\d:]+))?,M([\d.]+)(?:/([-+\d:]+))?)?"
)


@lru_cache(maxsize=1000)
def zone_of(name: str) -> Zone:
    """Return a zone by its IANA name; raises BadInput."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInput(f"{name!r} is no time zone: use an IANA name such as Europe/Berlin", code=400330) from error
    starts, offsets = zip(*changes_of(_file_of(name)), strict=True)
    return Zone(starts, offsets)


def _file_of(name: str) -> bytes:
    for folder in TZPATH:
        path = Path(folder) / name
        if path.is_file():
            return path.read_bytes()
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def changes_of(data: bytes) -> list[Change]:
    """Return (time, offset from then on), both in seconds; the first holds from the beginning of time."""
    counts = _HEADER.unpack_from(data)
    at = _HEADER.size
    if counts[1] != b"\0":  # the first block is for readers of 32 bits
        at += _size(counts, 4)
        counts = _HEADER.unpack_from(data, at)
        at += _HEADER.size
    width, times, kinds = (8 if counts[1] != b"\0" else 4), counts[5], counts[6]
    starts = struct.unpack_from(f">{times}{'q' if width == 8 else 'l'}", data, at)
    which = data[at + times * width : at + times * (width + 1)]
    offsets = [struct.unpack_from(">l", data, at + times * (width + 1) + 6 * kind)[0] for kind in range(kinds)]
    found = [(-1, offsets[0])]
    for start, kind in zip(starts, which, strict=True):
        if start < 0:
            found[0] = (-1, offsets[kind])
        elif offsets[kind] != found[-1][1]:
            found.append((start, offsets[kind]))
    rule = data[at + _size(counts, width) :].strip(b"\n").decode("ascii") if width == 8 else ""
    return found + _ruled(rule, starts[-1] if starts else -1, found[-1][1])


def _size(counts: tuple[int, ...], width: int) -> int:
    utc, standard, leaps, times, kinds, letters = counts[2:]
    return times * (width + 1) + kinds * 6 + letters + leaps * (width + 4) + standard + utc


def _ruled(rule: str, after: int, offset: int) -> list[Change]:
    match = _RULE.fullmatch(rule)
    if match is None or match[3] is None:
        return []
    standard = -_seconds(match[1])
    summer = -_seconds(match[2]) if match[2] else standard + 3600
    changes = []
    for year in range(datetime.fromtimestamp(max(after, 0), UTC).year, LAST_YEAR + 1):
        changes.append((_moment(year, match[3], match[4]) - standard, summer))
        changes.append((_moment(year, match[5], match[6]) - summer, standard))
    found: list[Change] = []
    for start, to in sorted(changes):
        if start > after and to != offset:
            found.append((start, to))
            offset = to
    return found


def _seconds(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    return sign * sum(int(part) * unit for part, unit in zip(text.lstrip("+-").split(":"), (3600, 60, 1), strict=False))


def _moment(year: int, day: str, time: str | None) -> int:
    """Seconds of a month.week.weekday (week 5 is the last one) and time on the clock of that year."""
    month, week, weekday = (int(part) for part in day.split("."))
    first = date(year, month, 1)
    found = first + timedelta(days=(weekday - first.isoweekday()) % 7 + 7 * (week - 1))
    if found.month != month:
        found -= timedelta(days=7)
    return (found - date(1970, 1, 1)).days * 86_400 + (_seconds(time) if time else 7200)
