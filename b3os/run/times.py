"""Times as the wire writes them."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# Everything that a run does within one step has the same time.
@lru_cache(maxsize=256)
def rfc3339(now_ms: int) -> str:
    """Write UTC milliseconds as RFC 3339, e.g. 2026-11-24T10:00:00.000Z."""
    moment = _EPOCH + timedelta(milliseconds=now_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now_ms % 1000:03d}Z"
