"""How a source that is polled at a service fails, and how its triggers are told why they do not fire.

A credential that the service refuses stops its own source; a place that the credential may not see stops that place
alone. Both are told on every trigger concerned (reason `source`), and taken back when the service answers again.
"""

import datetime
import math
from collections.abc import Collection
from email.utils import parsedate_to_datetime

from b3os.errors import B3osError
from b3os.store import triggers
from b3os.store.pool import Pool
from b3os.store.triggers import Name

CREDENTIAL, PLACE, ANSWER, LIMITED = 502040, 502041, 502042, 502043
REASON = "source"
#: Where a service refuses without saying for how long.
LIMIT_S = 30.0
#: However long a service wants us to wait, it is asked again after this.
LONGEST_S = 3600.0


class Refused(B3osError):
    """The service refuses the credential: nothing can be read until a person does something."""

    code = CREDENTIAL


class PlaceRefused(B3osError):
    """The service refuses one place, such as a channel; what else the credential sees goes on."""

    code = PLACE


class Unreadable(B3osError):
    """The service failed, or its answer makes no sense: ask again."""

    code = ANSWER
    retryable = True

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        #: The service's own word for it.
        self.reason = reason


class Limited(B3osError):
    """The service wants to be left alone for `wait_s` seconds."""

    code = LIMITED
    retryable = True

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def retry_after_s(text: str, now_s: float) -> float:
    """Read a Retry-After header, seconds or a date; LIMIT_S for what is neither."""
    try:
        found = float(text)
    except ValueError:
        found = _until(text, now_s)
    return min(max(found, 0.0), LONGEST_S) if math.isfinite(found) else LIMIT_S


def _until(text: str, now_s: float) -> float:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return LIMIT_S
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp() - now_s


class Standing:
    """What the triggers of one place have been told: nothing yet, that all is well, or what is wrong."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._said: str | None = None

    def forget(self) -> None:
        """Somebody came who may have been told something earlier."""
        self._said = None

    async def is_well(self, names: Collection[Name]) -> None:
        """Take back what was told, by this master or the one before."""
        if self._said != "":
            await triggers.cure(self._pool, list(names), REASON)
            self._said = ""

    async def is_wrong(self, names: Collection[Name], why: str) -> None:
        """Tell the triggers; those that came since are told too."""
        await triggers.save_problems(self._pool, [(name, REASON, why) for name in names], [], is_complete=False)
        self._said = why
