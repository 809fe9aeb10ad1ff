"""`GET /v1/runs/{id}/stream`: what is stored first, then what happens, each event once, until the run ends.

A run id that does not exist yet is held, so that a client may listen before it starts its run.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os.errors import NotFound, TooMany
from b3os.run.records import NodeRecord
from b3os.store import run_reads, runs
from b3os.store.pool import as_org
from b3os.stream.events import TERMINAL, RunEvent, encode_sse
from b3os.stream.tell import RUN_EVENTS, node_events, run_finished, run_started
from services.api.house import House
from services.api.wire import Request

HEARTBEAT_S = 15.0
#: How often a held stream looks whether its run has ended without an event reaching us.
CHECK_S = 1.0
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


async def stream(house: House, request: Request, receive: Any, send: Any) -> None:
    """Send a run's events; ends after the terminal one, when the client leaves, or when the process stops."""
    run_id = request.params["id"]
    after = request.headers.get("last-event-id", "0")
    seen = (int(after) if after.isdigit() else 0, 0)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    metrics.SSE_STREAMS.inc()
    left: asyncio.Future[Any] = asyncio.ensure_future(client_left(receive))
    stopping: asyncio.Future[Any] = asyncio.ensure_future(house.stop.wait())
    events = house.follower.follow(run_id, seen[0])
    upcoming: asyncio.Future[Any] = asyncio.ensure_future(anext(events))
    quiet_s = CHECK_S
    try:
        # Followed first and read afterwards: nothing falls between; `seen` keeps each event single.
        stored = await _stored(house, request.org_id, run_id)
        if fresh := fresh_of(stored, seen, request.org_id):
            seen = (fresh[-1].seq, fresh[-1].sub)
            await send_frame(send, b"".join(map(encode_sse, fresh)))
        if stored and stored[-1].type in TERMINAL:
            return
        while True:
            await asyncio.wait({upcoming, left, stopping}, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
            if left.done() or stopping.done():
                return
            found: list[RunEvent] = []
            if upcoming.done():
                found = upcoming.result()
                upcoming = asyncio.ensure_future(anext(events))
                if is_torn(seen[0], found):
                    # What a timer or a callback stored meanwhile has the numbers between: it comes first.
                    found = in_order([*await _stored(house, request.org_id, run_id), *found])
            else:
                # An event may have been lost on its way: what is stored is the truth.
                quiet_s += CHECK_S
                found = await _stored(house, request.org_id, run_id)
            if fresh := fresh_of(found, seen, request.org_id):
                seen, quiet_s = (fresh[-1].seq, fresh[-1].sub), 0.0
                metrics.SSE_EVENTS.inc(len(fresh))
                await send_frame(send, b"".join(map(encode_sse, fresh)))
                if fresh[-1].type in TERMINAL:
                    return
            if quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                await send_frame(send, b": heartbeat\n\n")
    except TooMany:
        await send_frame(send, b": resync\n\n")
    finally:
        metrics.SSE_STREAMS.dec()
        for task in (left, stopping, upcoming):
            task.cancel()
        await asyncio.gather(left, stopping, upcoming, return_exceptions=True)
        await events.aclose()
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def is_torn(last: int, events: Sequence[RunEvent]) -> bool:
    """Say whether numbers are missing after `last` and between events."""
    for event in events:
        if event.seq > last + 1:
            return True
        last = event.seq
    return False


def in_order(events: Iterable[RunEvent]) -> list[RunEvent]:
    """Sort events by their place in the run."""
    return sorted(events, key=lambda event: (event.seq, event.sub))


def fresh_of(events: Iterable[RunEvent], seen: tuple[int, int], org_id: str) -> list[RunEvent]:
    """Return what a reader of an organization has not seen yet, each once, up to the end of the run."""
    found: list[RunEvent] = []
    for event in events:
        if (event.seq, event.sub) > seen and event.org_id == org_id:
            found.append(event)
            seen = (event.seq, event.sub)
            if event.type in TERMINAL:
                break
    return found


async def send_frame(send: Any, data: bytes) -> None:
    """Send a part of a stream."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def client_left(receive: Any) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stored(house: House, org_id: str, run_id: str) -> list[RunEvent]:
    """Return the events of what is stored of a run; none for a run that does not exist yet."""
    try:
        async with as_org(house.pool, org_id) as db:
            run = await run_reads.get_run(db, org_id, run_id)
            stored = await runs.load_records(db, org_id, run_id)
    except NotFound:
        return []
    events = [run_started(run, int(run.started_at.timestamp() * 1000))]
    events += node_events(run, [msgspec.convert(record, NodeRecord) for record in stored])
    if run.status in RUN_EVENTS and run.finished_at is not None:
        events.append(run_finished(run, run.status, int(run.finished_at.timestamp() * 1000)))
    return events
