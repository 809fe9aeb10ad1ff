"""How far a mailbox has been read, and what must not be forgotten of it. Pure.

The history id moves only when every message before it is admitted. When Gmail no longer keeps the history from it, the
mail since `read_ms`, when the mailbox was last known to be read whole, is listed instead; a margin covers clocks and
mail that Google accepted before it put it into the mailbox. `recent` are messages that are looked at again for a while:
a search may not find them yet, and a trigger may be heard of a moment after its mail.
"""

from collections.abc import Iterable, Mapping

import msgspec

#: How much earlier a list begins than the mailbox was last read.
MARGIN_MS = 3600 * 1000
#: For how long a new message is looked at again.
SETTLE_MS = 120 * 1000
#: How much older than its arrival a message may be for a search to be asked for it.
OLDER_MS = 24 * 3600 * 1000
#: A place that only knows a later time is stored so often.
REMEMBER_MS = 600 * 1000
#: Messages of one transaction.
BATCH = 50
#: Messages left out that are remembered; the oldest leave first. After a failure a whole batch is asked for again.
LEFT_OUT = 2 * BATCH


class Recent(msgspec.Struct, frozen=True, array_like=True):
    """A new message: when it was seen first, how old it may be, and its labels then."""

    seen_ms: int
    from_ms: int
    labels: list[str]


class Place(msgspec.Struct, frozen=True):
    """The account, its history id that is read (empty: none yet), when, and new messages by id.

    `left_out` are messages that the service never gave, and why: they are not asked for again.
    """

    account: str = ""
    history: str = ""
    read_ms: int = 0
    recent: dict[str, Recent] = {}
    left_out: dict[str, str] = {}


def of_account(place: Place, account: str) -> Place:
    """Return the place in an account: another one's history has other ids, and is read from when this one was left."""
    if place.account == account:
        return place
    return Place(account, read_ms=place.read_ms + MARGIN_MS if place.read_ms else 0)


def resync_since_ms(place: Place, active_ms: int) -> int:
    """Return from when on mail is listed: since the last whole read, or the oldest trigger."""
    return max(0, (place.read_ms or active_ms) - MARGIN_MS)


def noted(place: Place, messages: Mapping[str, Recent]) -> Place:
    """Remember new messages; one that is known stays as it was seen first."""
    return msgspec.structs.replace(place, recent={**messages, **place.recent})


def settled(place: Place, now_ms: int) -> Place:
    """Forget messages that have been looked at for long enough."""
    kept = {one: recent for one, recent in place.recent.items() if now_ms - recent.seen_ms < SETTLE_MS}
    return msgspec.structs.replace(place, recent=kept)


def without(place: Place, message: str, why: str) -> Place:
    """Return the place with a message given up."""
    kept = [one for one in place.left_out.items() if one[0] != message][1 - LEFT_OUT :]
    return msgspec.structs.replace(place, left_out={**dict(kept), message: why})


def moved(place: Place, history: str, read_ms: int) -> Place:
    """Return the place after everything up to a history id was admitted."""
    return msgspec.structs.replace(place, history=history, read_ms=max(place.read_ms, read_ms))


def is_news(before: Place, after: Place) -> bool:
    """Whether a place is worth a commit."""
    same = msgspec.structs.replace(after, read_ms=before.read_ms) == before
    return not same or after.read_ms - before.read_ms >= REMEMBER_MS


def search_text(query: str, recent: Iterable[Recent]) -> str:
    """Return what is asked of Gmail: the query, for mail that may be one of these."""
    return f"({query}) after:{max(0, min(one.from_ms for one in recent)) // 1000}"


def list_text(since_ms: int) -> str:
    """Return what lists the mail since a time."""
    return f"after:{since_ms // 1000}"


def from_plain(found: object) -> Place:
    """Read a place from a cursor; an empty one where there is none, or none that can be read."""
    try:
        return msgspec.convert(found, Place)
    except msgspec.ValidationError:
        return Place()
