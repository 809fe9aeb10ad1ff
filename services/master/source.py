"""What the master asks of everything that events come from.

A source is one place that can be read by one master at a time: a chain, the price feed, the cron shard, a mailbox. It
is read under a lease of its name, keeps its position in a durable cursor, and admits events and cursor together. A
family is all sources of one kind: it says which trigger types it listens to and which sources are wanted. A trigger is
known by its slot; the table has its row. Patterns are in the index before a family hears of anything, so a family is
told only of triggers that have none.
"""

from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

from b3os.store.triggers import TriggerRow


class Source(Protocol):
    """One source. Holds no lease itself: it is given the epoch with every poll."""

    @property
    def name(self) -> str:
        """The name of its lease and cursor, such as `chain:8453`."""
        ...

    async def poll(self, epoch: int) -> float:
        """Read what is new and admit it; returns the seconds until the next poll. Raises StaleEpoch."""
        ...

    def failed(self, error: Exception) -> float:
        """Note a failed poll; returns the seconds to wait."""
        ...

    async def forget(self) -> None:
        """Drop what a lost lease makes stale, connections included; the next poll begins at the stored cursor."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A source that can say more of itself than that it is read."""

    def report(self) -> tuple[str, dict[str, Any]]:
        """Return how far behind it is, in words, and what else operators want to know."""
        ...


@runtime_checkable
class Listening(Protocol):
    """A source that can hear of news between its polls."""

    async def listen(self) -> None:
        """Hear of news until cancelled, or return when there is nothing to hear it from."""
        ...

    async def rest(self, pause_s: float) -> None:
        """Wait until the next poll, at most so long."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A source that has read more than it stored when a poll ends."""

    async def settle(self, epoch: int) -> None:
        """Store what was read, before another master goes on. Raises StaleEpoch."""
        ...


@runtime_checkable
class Owned(Protocol):
    """A source that reads with an organization's credential: only that organization sees how it fares."""

    @property
    def org_id(self) -> str:
        """Whose it is."""
        ...


class Family(Protocol):
    """All sources of one kind, and the triggers that listen to them."""

    @property
    def types(self) -> Collection[str]:
        """The trigger types that it listens to."""
        ...

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add a trigger without a pattern, or replace it; raises BadInput for a payload that cannot be read."""
        ...

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there; the table takes it out of the index itself."""
        ...

    def wanted(self) -> Collection[Source]:
        """Return the sources that some trigger listens to."""
        ...
