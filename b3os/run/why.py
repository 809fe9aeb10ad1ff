"""Why a run is not moving, or how it ended: one plain answer with a stable reason. Pure.

Reasons of a run that goes on: `queued`, `no_worker`, `owner_lost`, `working`, `action_in_flight`, `over_concurrency`,
`failing`, `waiting_for_callback`, `waiting_for_timer`, `waiting_for_retry`, `stalled`. Of one that has ended:
`succeeded`, `failed`, `cancelled`.
"""

import msgspec

from b3os.run.again import FATAL_CODES
from b3os.run.frontier import Head, OpenNode, open_nodes
from b3os.run.scheduler import INLINE, PARALLEL_CALLS
from b3os.run.times import rfc3339
from b3os.run.transitions import RUN_FINAL
from b3os.workflow.compiled import Compiled

#: A run whose owner died is taken over within this.
TAKEOVER_S = 10
WAITS = {"delay": "waiting_for_timer", "wait": "waiting_for_callback"}


class Timer(msgspec.Struct, frozen=True):
    """A wake-up of the run."""

    node_id: str
    path: str
    kind: str
    due_ms: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What one query reads of a run; times are of the database's clock. `owner_until_ms` is the owner's lease."""

    status: str
    trigger_node: str
    now_ms: int
    started_ms: int
    finished_ms: int | None = None
    has_owner: bool = False
    #: Whether it has been handed over; otherwise it waits for room in its organization's window.
    is_queued: bool = True
    owner_until_ms: int | None = None
    live_workers: int = 0
    timers: list[Timer] = []
    heads: list[Head] = []


class Cause(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One thing that a run waits for."""

    reason: str
    message: str
    node_id: str = ""
    path: str = ""
    since: str = ""
    until: str = ""


class Why(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer: the first cause in one line, and the others of a run with several branches."""

    status: str
    reason: str
    message: str
    node_id: str = ""
    path: str = ""
    since: str = ""
    until: str = ""
    others: list[Cause] = []


def why(compiled: Compiled | None, facts: Facts) -> Why:
    """Return the one plain answer; `compiled` is None for a definition that cannot run."""
    if facts.status in RUN_FINAL:
        causes = [_end(facts)]
    elif facts.status == "waiting":
        causes = _waits(compiled, facts) or [Cause("stalled", "nothing will wake this run: report it, then retry it")]
    else:
        causes = _running(compiled, facts)
    first = msgspec.structs.asdict(causes[0])
    return Why(status=facts.status, **first, others=causes[1:])


def _end(facts: Facts) -> Cause:
    at = rfc3339(facts.finished_ms or facts.now_ms)
    ordered = sorted(facts.heads, key=lambda head: head.seq)
    if facts.status == "cancelled":
        return Cause("cancelled", f"somebody cancelled it at {at}", since=at)
    if facts.status == "success":
        last = next((head for head in reversed(ordered) if head.status == "success"), None)
        told = f"; {last.node_id} was the last node" if last else ""
        return Cause("succeeded", f"every node is finished or skipped since {at}{told}", _id(last), _path(last), at)
    fatal = next((head for head in reversed(ordered) if head.status == "failure"), None)
    told = f"{fatal.node_id} failed: {fatal.error_message}" if fatal else "it failed before any node"
    return Cause("failed", told, _id(fatal), _path(fatal), at)


def _running(compiled: Compiled | None, facts: Facts) -> list[Cause]:
    since = max([facts.started_ms, *(head.finished_ms or head.started_ms for head in facts.heads)])
    told = rfc3339(since)
    if facts.owner_until_ms is not None and facts.owner_until_ms > facts.now_ms:
        calls = _calls(compiled, facts, told)
        return [*(calls or [Cause("working", "a worker is computing and storing it", since=told)]),
                *_waits(compiled, facts)]  # fmt: skip
    if facts.live_workers == 0:
        return [Cause("no_worker", "no worker is alive: start `b3os worker`, it will be taken up", since=told)]
    if facts.has_owner:
        until = rfc3339(facts.now_ms + TAKEOVER_S * 1000)
        message = f"the worker that had it is gone: another takes over within {TAKEOVER_S} s"
        return [Cause("owner_lost", message, since=told, until=until)]
    if not facts.is_queued:
        message = "its organization has as many runs in hand as it may: it is taken up when one of them ends"
        return [Cause("over_concurrency", message, since=told)]
    return [Cause("queued", "it waits for a free worker", since=told)]


def _calls(compiled: Compiled | None, facts: Facts, since: str) -> list[Cause]:
    """Tell of calls: those in flight since the last commit, and those beyond the limit."""
    if compiled is None:
        return []
    found = _open(compiled, facts)
    ready = [one for one in found if one.state == "running" and one.type not in INLINE]
    ready += [one for one in found if one.state == "scheduled" and retry_ms(one) <= facts.now_ms]
    causes = [
        Cause(
            "action_in_flight",
            f"{one.node_id} ({one.type}) is being called since {since}",
            one.node_id,
            one.path,
            since,
        )
        for one in ready[:PARALLEL_CALLS]
    ]
    causes += [
        Cause(
            "over_concurrency",
            f"{one.node_id} waits for one of {PARALLEL_CALLS} calls to come back",
            one.node_id,
            one.path,
        )
        for one in ready[PARALLEL_CALLS:]
    ]
    fatal = _fatal(compiled, facts.heads)
    if fatal is not None and causes:
        message = f"{fatal.node_id} failed; the run ends when the calls in flight have come back"
        causes.insert(0, Cause("failing", message, fatal.node_id, fatal.path, rfc3339(fatal.finished_ms or 0)))
    return causes


def retry_ms(one: OpenNode) -> int:
    """Return when a scheduled node is tried again."""
    return (one.head.retry_ms if one.head else None) or 0


def _waits(compiled: Compiled | None, facts: Facts) -> list[Cause]:
    """Tell of what is waited for, the soonest first."""
    if compiled is None:
        return []
    due = {(timer.node_id, timer.path): timer.due_ms for timer in facts.timers}
    found: list[tuple[int, Cause]] = []
    for one in _open(compiled, facts):
        at = due.get((one.node_id, one.path)) or (one.head.retry_ms if one.head else None)
        if (
            one.state not in ("waiting", "scheduled")
            or at is None
            or (one.state == "scheduled" and retry_ms(one) <= facts.now_ms)
        ):
            continue
        until, since = rfc3339(at), rfc3339(one.head.started_ms if one.head else facts.started_ms)
        if one.state == "scheduled" and one.head is not None:
            message = f"{one.node_id} failed ({one.head.error_message}); attempt {one.head.attempt} is made at {until}"
            cause = Cause("waiting_for_retry", message, one.node_id, one.path, since, until)
        else:
            reason = WAITS.get(one.type, "waiting_for_callback")
            what = "sleeps until" if reason == "waiting_for_timer" else "waits for a callback until"
            cause = Cause(reason, f"{one.node_id} {what} {until}", one.node_id, one.path, since, until)
        found.append((at, cause))
    return [cause for _, cause in sorted(found, key=lambda pair: pair[0])]


def _open(compiled: Compiled, facts: Facts) -> list[OpenNode]:
    return open_nodes(compiled, facts.trigger_node, facts.heads)


def _fatal(compiled: Compiled, heads: list[Head]) -> Head | None:
    nodes = compiled.definition.nodes
    failed = [head for head in heads if head.status == "failure"]
    return next((h for h in failed if nodes[h.node_id].on_error == "fail" or h.error_code in FATAL_CODES), None)


def _id(head: Head | None) -> str:
    return head.node_id if head else ""


def _path(head: Head | None) -> str:
    return head.path if head else ""
