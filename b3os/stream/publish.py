"""From commits to streams: each run has one Redis stream whose ids are the events' own sequence numbers.

What an organization's watchers are told (how runs begin and end, what actions do) goes to its channel as well, without
results: one message for all that was committed together.
"""

from collections.abc import Container, Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError, ResponseError

from b3os.errors import Unavailable
from b3os.redis_client import open_redis
from b3os.stream.events import TERMINAL, RunEvent

#: A run's stream keeps about this many events, for an hour after the last one.
KEPT_EVENTS = 10_000
KEPT_S = 3600


def stream_key(run_id: str) -> str:
    """STREAM of a run's events, id `<seq>-<sub>`."""
    return f"b3os:run:{run_id}"


def channel_of(org_id: str) -> str:
    """CHANNEL of an organization: messages are msgpack lists of events."""
    return f"b3os:org:{org_id}"


class Publisher:
    """Appends events; publishing the same event twice changes no run's stream.

    `untold` are node types that an organization's watchers do not hear of.
    """

    def __init__(self, redis_url: str, *, untold: Container[str | None] = ()) -> None:
        self._redis: Any = open_redis(redis_url)
        self._untold = untold

    async def publish(self, events: Sequence[RunEvent]) -> None:
        """Append events in order; raises Unavailable when Redis cannot be reached."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for event in events:
                    data = {"e": msgspec.msgpack.encode(event)}
                    key = stream_key(event.run_id)
                    pipe.xadd(key, data, id=f"{event.seq}-{event.sub}", maxlen=KEPT_EVENTS, approximate=True)
                for org_id, told in self._for_watchers(events).items():
                    pipe.publish(channel_of(org_id), msgspec.msgpack.encode(told))
                for key in {stream_key(event.run_id) for event in events}:
                    pipe.expire(key, KEPT_S)
                answers = await pipe.execute(raise_on_error=False)
        except RedisError as error:
            raise Unavailable(f"the ops Redis cannot be reached: {error}") from error
        for answer in answers:
            # An id that is not newer is an event that is there already.
            if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
                raise Unavailable(f"events were not published: {answer}") from answer

    async def tell_live(self, event: RunEvent) -> None:
        """Append a passing event to the stream of a run that is still told of; nobody listens to one that has ended.

        It comes from outside the run, so its place is behind whatever is there; raises Unavailable.
        """
        key = stream_key(event.run_id)
        try:
            newest = await self._redis.xrevrange(key, count=1)
            if not newest:
                return None
            last = msgspec.msgpack.decode(newest[0][1][b"e"], type=RunEvent)
            if last.type in TERMINAL:
                return None
            told = msgspec.structs.replace(event, seq=last.seq, sub=last.sub + 1)
            await self._redis.xadd(key, {"e": msgspec.msgpack.encode(told)}, id=f"{told.seq}-{told.sub}")
        except ResponseError:
            return await self.tell_live(event)  # the run went on meanwhile
        except RedisError as error:
            raise Unavailable(f"the ops Redis cannot be reached: {error}") from error

    def _for_watchers(self, events: Sequence[RunEvent]) -> dict[str, list[RunEvent]]:
        found: dict[str, list[RunEvent]] = {}
        for event in events:
            if event.node_type not in self._untold and not event.is_repeat:
                found.setdefault(event.org_id, []).append(msgspec.structs.replace(event, result=None))
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
