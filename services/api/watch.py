"""Streams over many runs: how a workflow's runs begin and end, and what an organization's runs and actions do.

They tell what happens from now on: no frame has an id, and who comes back reads `GET /v1/runs` for what it missed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from b3os import metrics
from b3os.errors import BadInput, TooMany, Unavailable
from b3os.store import workflows
from b3os.store.pool import as_org
from b3os.stream.events import TERMINAL, RunEvent, encode_sse
from services.api.house import House
from services.api.streams import HEADERS, HEARTBEAT_S, client_left, send_frame
from services.api.wire import Request

WORKFLOWS_LIMIT = 24
#: A channel that is not heard by then cannot be: the ops Redis does not answer.
HEARING_S = 5.0
RUN_ENDS = TERMINAL | {"run_started"}


async def of_workflow(house: House, request: Request, receive: Any, send: Any) -> None:
    """GET /v1/workflows/{id}/runs/stream"""
    async with as_org(house.pool, request.org_id) as db:
        await workflows.get_workflow(db, request.org_id, request.params["id"])
    await _watch(house, request, receive, send, _ends_of({request.params["id"]}))


async def of_workflows(house: House, request: Request, receive: Any, send: Any) -> None:
    """GET /v1/workflow-runs/stream"""
    ids = {one for value in request.query.get("ids", []) for one in value.split(",") if one}
    if not 0 < len(ids) <= WORKFLOWS_LIMIT:
        raise BadInput(f"`ids` names 1 to {WORKFLOWS_LIMIT} workflows, separated by commas", code=400413)
    # Ids of other organizations never match: the channel is the caller's own.
    await _watch(house, request, receive, send, _ends_of(ids))


async def activity(house: House, request: Request, receive: Any, send: Any) -> None:
    """GET /v1/activity/stream"""
    await _watch(house, request, receive, send, lambda event: True)


def _ends_of(ids: set[str]) -> Callable[[RunEvent], bool]:
    return lambda event: event.workflow_id in ids and event.type in RUN_ENDS


async def _watch(house: House, request: Request, receive: Any, send: Any, wanted: Callable[[RunEvent], bool]) -> None:
    events = house.watcher.watch(request.org_id)
    upcoming: asyncio.Future[list[RunEvent]] = asyncio.ensure_future(anext(events))
    left: asyncio.Future[Any] = asyncio.ensure_future(client_left(receive))
    stopping: asyncio.Future[Any] = asyncio.ensure_future(house.stop.wait())
    hearing: asyncio.Future[Any] = asyncio.ensure_future(house.watcher.ready())
    metrics.SSE_STREAMS.inc()
    try:
        await asyncio.wait({hearing, left, stopping}, timeout=HEARING_S, return_when=asyncio.FIRST_COMPLETED)
        if not (hearing.done() or left.done()):
            raise Unavailable("the events of runs cannot be heard now: try again shortly")
        # The answer begins once the channel is heard: who sees it misses nothing that happens from then on.
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send_frame(send, b": watching\n\n")
        loop = asyncio.get_running_loop()
        beat_at = loop.time() + HEARTBEAT_S
        while not (left.done() or stopping.done()):
            found = {upcoming, left, stopping}
            await asyncio.wait(found, timeout=beat_at - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            frame = b": heartbeat\n\n" if loop.time() >= beat_at else b""
            if upcoming.done():
                told = [event for event in upcoming.result() if wanted(event)]
                upcoming = asyncio.ensure_future(anext(events))
                metrics.SSE_EVENTS.inc(len(told))
                frame += b"".join(encode_sse(event, is_resumable=False) for event in told)
            if frame:
                beat_at = loop.time() + HEARTBEAT_S
                await send_frame(send, frame)
    except TooMany:
        await send_frame(send, b": resync\n\n")
    finally:
        metrics.SSE_STREAMS.dec()
        for task in (left, stopping, upcoming, hearing):
            task.cancel()
        await asyncio.gather(left, stopping, upcoming, hearing, return_exceptions=True)
        await events.aclose()
        if hearing.done() and not hearing.cancelled():
            await close(send)


async def close(send: Any) -> None:
    """End an answer that began."""
    with contextlib.suppress(OSError):
        await send({"type": "http.response.body", "body": b"", "more_body": False})
