"""How far a Slack channel has been read, and what a page of its history changes. Pure.

Slack shows threads only through their parents: a parent in the history tells of its latest reply. So a channel is read
in walks over pages. A short walk begins just before the newest message that was read; a sweep begins at the oldest
parent that may still be answered, and finds every thread with replies after `replies`. Both are moved only at the end:
`newest` when all pages were read, `replies` when all threads that the sweep found were. Everything later than OVERLAP
before either is looked at again, since a message may show up late with an earlier `ts`.
"""

import msgspec

from b3os.detect.slack import Bot, Mention, Page, mentions_in, messages_of, micros, ts_text
from b3os.errors import BadInput

US = 10**6
#: How late a message may show up.
OVERLAP = 60 * US
#: How old the parent of a thread may be.
THREADS = 7 * 24 * 3600 * US


#: What a parent tells of its thread: the time of the latest reply, and how many there are.
Told = tuple[int, int]


class Place(msgspec.Struct, frozen=True):
    """What has been read of a channel, in microseconds: its messages, and the replies in its threads."""

    newest: int
    replies: int


class Walk(msgspec.Struct, frozen=True):
    """One way through the pages of a channel's history, or of a thread."""

    oldest: int
    is_sweep: bool = False
    cursor: str = ""
    pages: int = 0
    #: The latest message or reply that the first page told of: all before it was there when the walk began.
    first: int = -1
    top: int = -1


class Step(msgspec.Struct, frozen=True):
    """What one page brought: the walk after it, mentions in order, threads with replies that were not read."""

    walk: Walk
    mentions: list[Mention]
    threads: dict[str, Told]
    is_last: bool


def begin(place: Place, *, is_sweep: bool) -> Walk:
    """Start a walk: from just before the newest message, or from the oldest thread that is followed."""
    recent = place.newest - OVERLAP
    return Walk(max(0, min(recent, place.newest - THREADS) if is_sweep else recent), is_sweep)


def history_step(place: Place, walk: Walk, page: Page, bot: Bot) -> Step:
    """Read a page of a channel's history; raises BadInput for one that does not say how it goes on."""
    messages = messages_of(page)
    told = {message.ts: (micros(message.latest_reply), message.reply_count or 0) for _, message, _ in messages}
    top = max((at for at, _, _ in messages), default=-1)
    moved = _moved(walk, page, top, max([top, *(latest for latest, _ in told.values())]))
    threads = {ts: one for ts, one in told.items() if one[0] > place.replies}
    return Step(moved, mentions_in(page, bot, place.newest - OVERLAP), threads, not page.next_cursor)


def replies_step(place: Place, walk: Walk, page: Page, bot: Bot, parent: str) -> Step:
    """Read a page of a thread. Its parent, which every page may begin with, belongs to the history."""
    found = mentions_in(page, bot, place.replies)
    top = max((at for at, _, _ in messages_of(page)), default=-1)
    mentions = [one for one in found if one.message.ts != parent]
    return Step(_moved(walk, page, top, top), mentions, {}, not page.next_cursor)


def _moved(walk: Walk, page: Page, top: int, told: int) -> Walk:
    cursor = page.next_cursor
    if (page.has_more and not cursor) or (cursor and cursor == walk.cursor):
        raise BadInput("a page has more after it and does not say where: nothing is skipped, it is read again")
    return msgspec.structs.replace(
        walk,
        cursor=cursor,
        pages=walk.pages + 1,
        first=walk.first if walk.pages else told,
        top=max(walk.top, top),
    )


def read_all(place: Place, walk: Walk) -> Place:
    """Return the place after the last page of a walk."""
    return msgspec.structs.replace(place, newest=max(place.newest, walk.top))


def threads_read(place: Place, sweep: Walk) -> Place:
    """Return the place after all threads that a sweep found were read."""
    return msgspec.structs.replace(place, replies=max(place.replies, sweep.first - OVERLAP))


def to_plain(place: Place) -> dict[str, str]:
    """Write a place as the cursor keeps it, in Slack's own form."""
    return {"newest": ts_text(place.newest), "replies": ts_text(place.replies)}


def from_plain(found: object) -> Place | None:
    """Read a place from a cursor; None where there is none."""
    if not isinstance(found, dict):
        return None
    newest, replies = micros(found.get("newest")), micros(found.get("replies"))
    return Place(newest, replies) if newest >= 0 and replies >= 0 else None
