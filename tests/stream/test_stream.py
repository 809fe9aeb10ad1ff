"""Run events on a real Valkey: in order, once, resumable."""

import asyncio

from b3os.stream.events import RunEvent, encode_sse
from b3os.stream.follow import Follower
from b3os.stream.publish import Publisher


def event(seq: int, type_: str = "node_completed") -> RunEvent:
    return RunEvent(type=type_, run_id="run_1", org_id="org_secret", workflow_id="wf_1", seq=seq, timestamp=0)


async def collect(follower: Follower, n: int, after: int = 0) -> list[int]:
    seen = []
    async for found in follower.follow("run_1", after):
        seen += [event.seq for event in found]
        if len(seen) >= n:
            break
    return seen


async def test_events_arrive_in_order_and_once_though_published_twice(redis_url: str) -> None:
    publisher, follower = Publisher(redis_url), Follower(redis_url)
    reading = asyncio.ensure_future(collect(follower, 3))
    await publisher.publish([event(1), event(2)])
    await publisher.publish([event(1), event(2), event(3)])
    assert await asyncio.wait_for(reading, 10) == [1, 2, 3]
    assert await asyncio.wait_for(collect(follower, 1, after=2), 10) == [3]
    await follower.close()
    await publisher.close()


def test_frame_has_lf_only_and_no_organization() -> None:
    frame = encode_sse(event(4))
    assert frame.startswith(b"id: 4\nevent: node_completed\ndata: {")
    assert frame.endswith(b"}\n\n")
    assert b"\r" not in frame
    assert b"org_secret" not in frame
