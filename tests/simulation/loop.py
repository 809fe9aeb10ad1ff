"""An event loop whose time jumps to the next timer, and which runs what is ready in an order that a seed chooses.

A callback belongs to the process in whose context it was scheduled. A process that is paused keeps its callbacks until
it goes on; one that was killed never runs another, not even a `finally`.
"""

import asyncio
import heapq
import random
from contextvars import ContextVar
from typing import Any


class Process:
    """One simulated process; its clock is off by `skew_s`."""

    def __init__(self, name: str, skew_s: float = 0.0) -> None:
        self.name = name
        self.skew_s = skew_s
        self.is_dead = False
        self.is_paused = False
        self.kept: list[Any] = []


#: The process whose code runs now; None is the world outside.
WHO: ContextVar[Process | None] = ContextVar("who", default=None)


class Stuck(AssertionError):
    """Nothing is ready and nothing is planned."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic for a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._order = random.Random(seed)
        self._now = 0.0
        self.steps = 0

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Do it at once: threads have no order."""
        answer = self.create_future()
        answer.set_result(func(*args))
        return answer

    def go_on(self, process: Process) -> None:
        """Let a paused process run again."""
        process.is_paused = False
        kept, process.kept = process.kept, []
        self._ready.extend(kept)

    def _check_closed(self) -> None:
        """Let what is torn down after the end schedule into the void."""

    def _run_once(self) -> None:
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False
        if not self._ready:
            if not timers:
                raise Stuck("nothing is ready and no timer runs")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            self._ready.append(handle)
        batch = list(self._ready)
        self._ready.clear()
        self._order.shuffle(batch)
        for handle in batch:
            self._run_handle(handle)

    def _run_handle(self, handle: Any) -> None:
        if handle._cancelled:
            return
        process = handle._context.get(WHO)
        if process is not None and process.is_dead:
            return
        if process is not None and process.is_paused:
            process.kept.append(handle)
            return
        self.steps += 1
        handle._run()
