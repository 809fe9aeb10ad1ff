"""Which sources this master reads: their leases, and a task for each that is held.

A lease lasts 4 s and is renewed every 2 s, each renewal being a commit; a source that is not ours is asked for every
0.75 s, so that a dead master's sources are read by another within 5 s. A source that fails waits for itself alone.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence

from asyncpg import InterfaceError, PostgresError

from b3os.errors import B3osError, StaleEpoch
from b3os.store import leases, source_states
from b3os.store.pool import Pool
from services.master.source import Family, Listening, Owned, Reporting, Source

log = logging.getLogger("b3os.master")

LEASE_S = 4.0
RENEW_S = 2.0
ASK_S = 0.75
#: How often the state of what is held is written down, with a renewal.
TELL_S = 3.0
FAILURES = (OSError, PostgresError, InterfaceError, B3osError)


class Keeper:
    """Takes, renews and gives back leases, and polls what it holds."""

    def __init__(self, pool: Pool, owner: str, families: Sequence[Family]) -> None:
        self._pool = pool
        self._owner = owner
        self._families = families
        self._epochs: dict[str, int] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._errors: dict[str, tuple[str, float]] = {}
        self._told_at = float("-inf")

    def wake(self) -> None:
        """Look at once whether another source is wanted."""
        self._wake.set()

    async def serve(self) -> None:
        """Keep leases and follow their sources until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                pause = ASK_S
                try:
                    if await self._lease(group):
                        pause = RENEW_S
                except FAILURES as error:
                    log.warning("leases not renewed", extra={"error": str(error)})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.clear()

    async def close(self) -> None:
        """Give the leases back, so that another master goes on at once."""
        for name in self._epochs:
            await leases.release(self._pool, name, self._owner)

    async def _lease(self, group: asyncio.TaskGroup) -> bool:
        """Renew what is held, take what is free and wanted, give back what no trigger needs any more.

        Returns whether all that is wanted is held.
        """
        wanted = {source.name: source for family in self._families for source in family.wanted()}
        held = await leases.renew(self._pool, self._owner, list(self._epochs), LEASE_S, self._told(wanted.values()))
        for name in held - set(wanted):
            await leases.release(self._pool, name, self._owner)
        self._epochs = {name: epoch for name, epoch in self._epochs.items() if name in held and name in wanted}
        if missing := set(wanted) - set(self._epochs):
            self._epochs |= await leases.acquire_free(self._pool, missing, self._owner, LEASE_S)
        for name, task in self._following.items():
            if name not in self._epochs:
                task.cancel()  # whatever it writes would be refused: let go of its connections now
        for name in self._epochs:
            if name not in self._following:
                self._following[name] = group.create_task(self._follow(wanted[name]))
        return set(wanted) <= set(self._epochs)

    def _told(self, wanted: Iterable[Source]) -> list[source_states.Told]:
        """How every source that is held fares, from time to time: a renewal that it spoils is made without it."""
        if time.monotonic() - self._told_at < TELL_S:
            return []
        self._told_at = time.monotonic()
        return [self._state(source) for source in wanted if source.name in self._epochs]

    def _state(self, source: Source) -> source_states.Told:
        lag, detail = source.report() if isinstance(source, Reporting) else ("", {})
        error, at = self._errors.get(source.name, ("", None))
        return source_states.Told(
            source.name, lag, error, at, detail, source.org_id if isinstance(source, Owned) else ""
        )

    async def _follow(self, source: Source) -> None:
        """Poll a source for as long as its lease is ours, and let it hear of news meanwhile."""
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(source.listen()) if isinstance(source, Listening) else None
                try:
                    await self._polls(source)
                finally:
                    if listening is not None:
                        listening.cancel()
        finally:
            del self._following[source.name]
            await source.forget()

    async def _polls(self, source: Source) -> None:
        task = asyncio.current_task()
        while True:
            epoch = self._epochs.get(source.name)
            if epoch is None:
                return
            pause = await self._poll(source, epoch)
            if task is not None and task.cancelling():
                return  # asyncio.wait_for of Python 3.11, which redis-py calls, may swallow the cancellation
            await (source.rest(pause) if isinstance(source, Listening) else asyncio.sleep(pause))

    async def _poll(self, source: Source, epoch: int) -> float:
        try:
            return await source.poll(epoch)
        except StaleEpoch:
            self._epochs.pop(source.name, None)
            return 0.0
        except (*FAILURES, ValueError) as error:
            self._errors[source.name] = (str(error)[:500].replace("\x00", ""), time.time())
            log.warning("source failed", extra={"source": source.name, "error": str(error)})
            return source.failed(error)
