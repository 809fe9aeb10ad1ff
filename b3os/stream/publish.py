"""From commits to streams: each run has one Redis stream whose ids are the events' own sequence numbers.

What an organization's watchers are told (how runs begin and end, what actions do) goes to its channel as well, without
results: one message for all that was committed together.
"""

from collections.abc import Container, Sequence

import msgspec
from redis.exceptions import RedisError, ResponseError

from b3os.errors import Unavailable
from b3os.redis_link import Command, open_link
from b3os.stream.events import TERMINAL, RunEvent

#: A run's stream keeps about this many events, for an hour after the last one.
KEPT = ("MAXLEN", "~", 10_000)
KEPT_S = 3600

#: What of a refusal says that the run went on meanwhile.
OVERTAKEN = "equal or smaller"

encode = msgspec.msgpack.Encoder().encode


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
        self._link = open_link(redis_url)
        self._untold = untold

    async def publish(self, events: Sequence[RunEvent]) -> None:
        """Append events in order; raises Unavailable when Redis cannot be reached."""
        commands: list[Command] = [
            ("XADD", stream_key(event.run_id), *KEPT, f"{event.seq}-{event.sub}", "e", encode(event))
            for event in events
        ]
        for org_id, told in self._for_watchers(events).items():
            commands.append(("PUBLISH", channel_of(org_id), encode(told)))
        commands += [("EXPIRE", stream_key(run_id), KEPT_S) for run_id in {event.run_id for event in events}]
        try:
            # An id that is not newer is an event that is there already: refusals are no failure.
            await self._link.ask(commands)
        except (RedisError, OSError) as error:
            raise Unavailable(f"the ops Redis cannot be reached: {error}") from error

    async def tell_live(self, event: RunEvent) -> None:
        """Append a passing event to the stream of a run that is still told of; nobody listens to one that has ended.

        It comes from outside the run, so its place is behind whatever is there; raises Unavailable.
        """
        key = stream_key(event.run_id)
        try:
            (newest,) = await self._link.ask([("XREVRANGE", key, "+", "-", "COUNT", 1)])
            if not newest:
                return None
            ((_, fields),) = newest
            # A cluster's client makes a dict of what a server tells as a list.
            data = fields[b"e"] if isinstance(fields, dict) else fields[1]
            last = msgspec.msgpack.decode(data, type=RunEvent)
            if last.type in TERMINAL:
                return None
            told = msgspec.structs.replace(event, seq=last.seq, sub=last.sub + 1)
            (answer,) = await self._link.ask([("XADD", key, f"{told.seq}-{told.sub}", "e", encode(told))])
        except (RedisError, OSError) as error:
            raise Unavailable(f"the ops Redis cannot be reached: {error}") from error
        if isinstance(answer, ResponseError):
            if OVERTAKEN in str(answer):
                return await self.tell_live(event)
            raise Unavailable(f"the event was not published: {answer}")
        return None

    def _for_watchers(self, events: Sequence[RunEvent]) -> dict[str, list[RunEvent]]:
        found: dict[str, list[RunEvent]] = {}
        for event in events:
            if event.node_type not in self._untold and not event.is_repeat:
                found.setdefault(event.org_id, []).append(msgspec.structs.replace(event, result=None))
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()
