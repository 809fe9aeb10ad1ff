"""What a row of results means. One failure may be noise; three in a row are not. Pure."""

import msgspec

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN, WAIVED = "healthy", "degraded", "unhealthy", "unknown", "waived"

#: Failures in a row after which a check is unhealthy.
UNHEALTHY_AFTER = 3


class Verdict(msgspec.Struct, frozen=True):
    """The state of a check: its status and how often it failed in a row."""

    status: str = UNKNOWN
    failures: int = 0


def judge(before: Verdict, *, ok: bool) -> Verdict:
    """Return the verdict after one more result."""
    if ok:
        return Verdict(HEALTHY, 0)
    failures = before.failures + 1
    return Verdict(UNHEALTHY if failures >= UNHEALTHY_AFTER else DEGRADED, failures)


def next_in_s(verdict: Verdict, interval_s: float) -> float:
    """Return when to look again: sooner while it is unclear whether a failure was noise."""
    return min(interval_s, 10.0) if verdict.status == DEGRADED else interval_s
