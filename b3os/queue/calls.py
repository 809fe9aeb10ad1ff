"""Which script does what to a lane, with which keys and arguments. Pure: clock and connection are the broker's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from b3os.queue.codec import encode
from b3os.queue.keys import LANES, LaneKeys
from b3os.queue.task import Task, failed, message_of, written

COUNTER_KEPT_S = 90 * 24 * 3600
ARCHIVE_KEPT_S = 90 * 24 * 3600
ARCHIVE_LIMIT = 10_000
#: A line longer than this is not searched for a task that should be in it: that takes 2 ms of the server at 10,000.
SEARCH_LIMIT = 10_000
#: Tasks moved by one call of the upkeep scripts.
UPKEEP_LIMIT = 500
NS = 1_000_000_000

KEYS = {lane: LaneKeys(lane) for lane in LANES}


class Call(msgspec.Struct, frozen=True):
    """One script with its keys and arguments, as its header says."""

    name: str
    keys: Sequence[str]
    args: Sequence[Any]


def enqueue(lane: str, tasks: Sequence[Task], now_ns: int, lane_limit: int) -> Call:
    """Put tasks that are not there into the line."""
    keys = KEYS[lane]
    return Call("enqueue", [keys.pending], [keys.task, now_ns, lane_limit, *_messages(tasks)])


def restore(lane: str, tasks: Sequence[Task], now_ns: int, lane_limit: int) -> Call:
    """Put tasks into the line whatever is left of them, unless they are in it or taken."""
    k = KEYS[lane]
    sets = [k.pending, k.active, k.lease, k.scheduled, k.retry, k.archived, k.completed]
    return Call("restore", sets, [k.task, now_ns, lane_limit, SEARCH_LIMIT, now_ns // NS, *_messages(tasks)])


def schedule(lane: str, tasks: Sequence[Task], at_s: int) -> Call:
    """Put tasks aside until a time."""
    keys = KEYS[lane]
    parts = [part for task in tasks for part in (task.id, written(task), at_s)]
    return Call("schedule", [keys.scheduled], [keys.task, *parts])


def dequeue(lane: str, count: int, expiry_s: int) -> Call:
    """Take tasks under a lease."""
    keys = KEYS[lane]
    return Call("dequeue", [keys.pending, keys.paused, keys.active, keys.lease], [keys.task, count, expiry_s])


def extend(lane: str, tasks: Sequence[Task], expiry_s: int) -> Call:
    """Renew the leases of taken tasks."""
    return Call("extend", [KEYS[lane].lease], [expiry_s, *(task.id for task in tasks)])


def requeue(lane: str, tasks: Sequence[Task], now_ns: int) -> Call:
    """Give taken tasks back."""
    keys = KEYS[lane]
    return Call("requeue", [keys.active, keys.lease, keys.pending], [keys.task, now_ns, *(task.id for task in tasks)])


def done(lane: str, tasks: Sequence[Task], now_ns: int) -> Call:
    """Finish taken tasks, each kept for as long as its message says."""
    k, now_s = KEYS[lane], now_ns // NS
    args: list[Any] = [k.task, now_s + COUNTER_KEPT_S]
    for task in tasks:
        message = message_of(task)
        kept = encode(msgspec.structs.replace(message, completed_at=now_s)) if message.retention else b""
        args += [task.id, message.unique_key, kept, now_s + message.retention]
    return Call("done", [k.active, k.lease, k.completed, k.processed, k.processed_on(_day(now_s))], args)


def retry(lane: str, tasks: Sequence[Task], now_ns: int, error: str, delay_s: int) -> Call:
    """Put failed tasks aside to be tried again."""
    k, now_s = KEYS[lane], now_ns // NS
    args: list[Any] = [k.task, now_s + COUNTER_KEPT_S]
    for task in tasks:
        args += [task.id, encode(failed(task, error, now_s)), now_s + delay_s]
    return Call("retry", [k.active, k.lease, k.retry, *_counters(k, now_s)], args)


def archive(lane: str, tasks: Sequence[Task], now_ns: int, error: str) -> Call:
    """Give tasks up."""
    k, now_s = KEYS[lane], now_ns // NS
    args: list[Any] = [k.task, now_s + COUNTER_KEPT_S, now_s, now_s - ARCHIVE_KEPT_S, ARCHIVE_LIMIT]
    for task in tasks:
        args += [task.id, encode(failed(task, error, now_s))]
    return Call("archive", [k.active, k.lease, k.archived, *_counters(k, now_s)], args)


def forward(lane: str, now_ns: int) -> Call:
    """Move tasks whose time has come into the line."""
    k = KEYS[lane]
    return Call("forward", [k.pending, k.scheduled, k.retry], [k.task, k.group, now_ns // NS, now_ns, UPKEEP_LIMIT])


def recover(lane: str, now_ns: int) -> Call:
    """Put back tasks whose lease ran out."""
    k = KEYS[lane]
    return Call("recover", [k.pending, k.active, k.lease], [k.task, now_ns // NS, now_ns, UPKEEP_LIMIT])


def tidy(lane: str, now_ns: int) -> Call:
    """Forget tasks whose time is over."""
    k, now_s = KEYS[lane], now_ns // NS
    return Call("janitor", [k.completed, k.archived], [k.task, now_s, now_s - ARCHIVE_KEPT_S, UPKEEP_LIMIT])


def _messages(tasks: Sequence[Task]) -> list[Any]:
    return [part for task in tasks for part in (task.id, written(task))]


def _counters(keys: LaneKeys, now_s: int) -> list[str]:
    day = _day(now_s)
    return [keys.processed, keys.failed, keys.processed_on(day), keys.failed_on(day)]


def _day(now_s: int) -> str:
    return datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
