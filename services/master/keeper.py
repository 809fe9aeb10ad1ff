"""Which sources this master reads: their leases, and a task for each that is held.

A lease lasts 4 s and is renewed every 2 s, each renewal being a commit. A master that does not hold all that is wanted
looks every 0.75 s at what the others hold, which costs no commit, and at the moment when the next of their leases
lapses: a dead master's sources are read by another within 5 s. Masters know of each other by a lease that each has of
itself; share.py says who holds what. A source that is given to another is left between two polls, so that what it has
read is stored, and is free at once. A source that fails waits for itself alone.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from asyncpg import InterfaceError, PostgresError

from b3os.errors import B3osError, StaleEpoch
from b3os.store import leases, source_states
from b3os.store.pool import Pool
from services.master import share
from services.master.source import Family, Listening, Owned, Reporting, Settling, Source

log = logging.getLogger("b3os.master")

LEASE_S = 4.0
RENEW_S = 2.0
ASK_S = 0.75
#: How soon is looked again while something is free that another should take, or was just asked for.
SOON_S = 0.25
#: For how long after a question it is looked so soon.
EAGER_S = 5.0
#: Free for so long, a source is anybody's; one that was just given waits longer for the master that asked.
SPARE_S, GIVEN_S = 0.4, 2.0
#: How long after the end of another's lease it is looked at.
LAPSE_S = 0.02
#: How often the state of what is held is written down, with a renewal.
TELL_S = 3.0
#: How often is looked for states of sources that nobody wants any more.
TIDY_S = 60.0
FAILURES = (OSError, PostgresError, InterfaceError, B3osError)
#: Every master has a lease of this name and its own, by which the others know that it is alive.
PRESENCE = "master:"


class _Following(msgspec.Struct):
    """A source that is read, by which task, and whether it is to be left after the poll in hand."""

    source: Source
    leave: asyncio.Event
    task: asyncio.Task[None] | None = None


class Keeper:
    """Takes, renews and gives back leases, and polls what it holds."""

    def __init__(self, pool: Pool, owner: str, families: Sequence[Family]) -> None:
        self._pool = pool
        self._owner = owner
        self._me = PRESENCE + owner
        self._families = families
        self._epochs: dict[str, int] = {}
        self._following: dict[str, _Following] = {}
        self._wake = asyncio.Event()
        self._errors: dict[str, tuple[str, float]] = {}
        #: Since when what is free waits for a master that has room.
        self._free: dict[str, float] = {}
        self._renewed_at = self._told_at = self._tidied_at = self._asked_at = float("-inf")

    def wake(self) -> None:
        """Look at once whether another source is wanted."""
        self._wake.set()

    async def serve(self) -> None:
        """Keep leases and follow their sources until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                pause = ASK_S
                try:
                    pause = await self._look(group)
                except FAILURES as error:
                    log.warning("leases not renewed", extra={"error": str(error)})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.clear()

    async def close(self) -> None:
        """Give the leases back, so that another master goes on at once; nothing to do a second time."""
        held, self._epochs = self._epochs, {}
        for name in held.keys() - {self._me}:
            await leases.release(self._pool, name, self._owner)
        if self._me in held:
            await leases.leave(self._pool, self._me, self._owner)

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Renew what is held, take what is free and ours, ask for our share; returns until when that will do."""
        wanted = {source.name: source for family in self._families for source in family.wanted()}
        await self._renew(wanted)
        others = await leases.others(self._pool, self._owner, PRESENCE)
        elsewhere = {name: one for name, one in others.held.items() if name in wanted}
        decided = share.plan(
            share.View(
                me=self._owner,
                masters=sorted({self._owner, *others.present}),
                wanted=list(wanted),
                held=self._epochs.keys() & wanted.keys(),
                asked=others.asked,
                elsewhere={name: share.Elsewhere(one.owner, one.asked_by) for name, one in elsewhere.items()},
                spare={name for name, since in self._free.items() if time.monotonic() - since >= SPARE_S},
            )
        )
        if take := {*decided.take, self._me} - self._epochs.keys():
            self._epochs |= await leases.acquire_free(self._pool, take, self._owner, LEASE_S)
        if decided.ask:
            await leases.ask(self._pool, decided.ask, self._owner)
            self._asked_at = time.monotonic()
        self._free = {name: self._free.get(name, time.monotonic()) for name in decided.left}
        self._follow_held(group, wanted, decided.give)
        await self._tidy(wanted)
        return self._pause([one.left_s for one in elsewhere.values()])

    async def _renew(self, wanted: dict[str, Source]) -> None:
        """Extend what is held, when it is time to, and give back what no trigger needs any more."""
        began = time.monotonic()
        if began - self._renewed_at >= RENEW_S:
            told = self._told(wanted.values())
            held = await leases.renew(self._pool, self._owner, list(self._epochs), LEASE_S, told)
            self._epochs = {name: epoch for name, epoch in self._epochs.items() if name in held}
            self._renewed_at = began
        for name in sorted(self._epochs.keys() - wanted.keys() - {self._me}):
            await leases.release(self._pool, name, self._owner)
            self._epochs.pop(name, None)

    def _follow_held(self, group: asyncio.TaskGroup, wanted: dict[str, Source], give: Iterable[str]) -> None:
        """Read what is held, by the source that is wanted now, and nothing else."""
        for name, following in self._following.items():
            if following.task and (name not in self._epochs or wanted.get(name) is not following.source):
                following.task.cancel()  # whatever it writes would be refused: let go of its connections now
        for name in wanted:
            if name in self._epochs and name not in self._following:
                following = self._following[name] = _Following(wanted[name], asyncio.Event())
                following.task = group.create_task(self._follow(following))
        for name in give:
            if name in self._following:
                self._following[name].leave.set()

    def _pause(self, lapses: Sequence[float]) -> float:
        """Return when to look again: when a lease must be renewed, or another's may lapse."""
        now = time.monotonic()
        pauses = [self._renewed_at + RENEW_S - now]
        if lapses:
            pauses += [ASK_S, min(lapses) + LAPSE_S]
        if self._free or (lapses and now - self._asked_at < EAGER_S):
            pauses.append(SOON_S)
        return max(0.0, min(pauses))

    async def _tidy(self, wanted: dict[str, Source]) -> None:
        """Forget now and then how sources fared that nobody wants any more, such as one of a replaced token."""
        if time.monotonic() - self._tidied_at >= TIDY_S:
            await source_states.keep_only(self._pool, list(wanted))
            await leases.forget_dead(self._pool, PRESENCE)
            self._errors = {name: error for name, error in self._errors.items() if name in wanted}
            self._tidied_at = time.monotonic()

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

    async def _follow(self, following: _Following) -> None:
        """Poll a source for as long as its lease is ours and nobody else is to have it, and let it hear of news."""
        source = following.source
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(source.listen()) if isinstance(source, Listening) else None
                try:
                    await self._polls(source, following.leave)
                finally:
                    if listening is not None:
                        listening.cancel()
        finally:
            del self._following[source.name]
            self._wake.set()
            await source.forget()

    async def _polls(self, source: Source, leave: asyncio.Event) -> None:
        task = asyncio.current_task()
        while True:
            epoch = self._epochs.get(source.name)
            if epoch is None:
                return
            if leave.is_set():
                await self._give(source, epoch)
                return
            pause = await self._poll(source, epoch)
            if task is not None and task.cancelling():
                return  # asyncio.wait_for of Python 3.11, which redis-py calls, may swallow the cancellation
            await _rest(source, pause, leave)

    async def _give(self, source: Source, epoch: int) -> None:
        """Store what is read and let another go on; a lease that cannot be given back lapses."""
        try:
            if isinstance(source, Settling):
                await source.settle(epoch)
            await leases.release(self._pool, source.name, self._owner)
        except FAILURES as error:
            log.warning("source not given back", extra={"source": source.name, "error": str(error)})
        else:
            self._free[source.name] = time.monotonic() + GIVEN_S
            log.info("source given to another master", extra={"source": source.name})
        self._epochs.pop(source.name, None)

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


async def _rest(source: Source, pause: float, leave: asyncio.Event) -> None:
    """Wait until the next poll, until the source hears of news, or until it is to be left."""
    if not isinstance(source, Listening):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await leave.wait()
        return
    async with asyncio.TaskGroup() as group:
        waits: list[asyncio.Task[Any]] = [group.create_task(source.rest(pause)), group.create_task(leave.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
