"""What a master holds of one Slack channel between two calls: its place, the walk under way, threads to be read.

No I/O. Only what is stored with the cursor, the place, survives a restart: the walk begins again, and what it brings a
second time is a duplicate.
"""

from collections.abc import Iterable

import msgspec

from b3os.detect.slack import Mention, micros
from b3os.detect.slack_history import (
    OVERLAP,
    Place,
    Step,
    Told,
    Walk,
    begin,
    read_all,
    threads_read,
)
from b3os.store.triggers import Name

#: Between the ends of two walks, and of two sweeps; a sweep that took long is followed by four times its time without.
POLL_S = 2.0
SWEEP_S = 30.0
CALM = 4.0


class Thread(msgspec.Struct, frozen=True):
    """A thread that is being read: its parent, what the parent told of it, the walk."""

    parent: str
    told: Told
    walk: Walk


class Channel:
    """One channel; `now` is always monotonic seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.slots: set[int] = set()
        self.place: Place | None = None
        self.walk: Walk | None = None
        self.thread: Thread | None = None
        #: Threads with replies that have not been read.
        self.threads: dict[str, Told] = {}
        #: What the parents told when their threads were read.
        self._read: dict[str, Told] = {}
        #: Mentions that are admitted already, by `ts` and trigger.
        self.known: set[tuple[str, Name]] = set()
        self.due_at = self.sweep_at = self.thread_at = float("-inf")
        self.began_at = self.level_at = 0.0
        #: Until when the history, or the threads, are left alone because the service refused them.
        self.rests_until = self.threads_rest_until = float("-inf")
        #: Why; the history's reason goes before the threads'.
        self.history_problem = self.threads_problem = ""
        self._sweep: Walk | None = None

    @property
    def problem(self) -> str:
        """Why something of the channel cannot be read."""
        return self.history_problem or self.threads_problem

    def restart(self, place: Place | None) -> None:
        """Begin anew at a stored place."""
        self.place, self.walk, self.thread, self._sweep = place, None, None, None
        self.threads, self._read, self.known = {}, {}, set()
        self.due_at = self.sweep_at = self.rests_until = self.threads_rest_until = float("-inf")

    def next_walk(self, now: float) -> Walk:
        """Return the walk under way, or the next one."""
        if self.walk is not None:
            return self.walk
        assert self.place is not None, "a channel has a place before it is read"
        self.began_at = now
        is_sweep = now >= self.sweep_at and self._sweep is None
        return begin(self.place, is_sweep=is_sweep)

    def place_after(self, step: Step) -> Place:
        """Return the place once a page of the history is admitted."""
        assert self.place is not None, "a channel has a place before it is read"
        return read_all(self.place, step.walk) if step.is_last else self.place

    def took_history(self, step: Step, now: float) -> None:
        """Go on after a page of the history that is admitted."""
        for parent, told in step.threads.items():
            if self._read.get(parent) != told:
                self.threads[parent] = told
        self.walk = None if step.is_last else step.walk
        self.due_at = now
        if step.is_last:
            self.level_at, self.due_at = self.began_at, now + POLL_S
            if step.walk.is_sweep:
                self._sweep = step.walk
                self.sweep_at = now + max(SWEEP_S, CALM * (now - self.began_at))

    def failed(self, now: float, *, is_lost: bool) -> None:
        """Let other channels go first; a walk whose next page is lost begins again."""
        self.due_at = now + POLL_S
        if is_lost:
            self.walk = None

    def next_thread(self) -> Thread | None:
        """Return the thread under way, or the next one."""
        if self.thread is None and self.threads:
            assert self.place is not None, "a channel has a place before it is read"
            parent = next(iter(self.threads))
            return Thread(parent, self.threads[parent], Walk(self.place.replies))
        return self.thread

    def took_thread(self, thread: Thread, step: Step) -> None:
        """Go on after a page of a thread that is admitted."""
        self.thread = None if step.is_last else msgspec.structs.replace(thread, walk=step.walk)
        if step.is_last:
            self.drop_thread(thread)
            self._read[thread.parent] = thread.told

    def drop_thread(self, thread: Thread) -> None:
        """Leave a thread: it is read, or gone."""
        self.thread = None
        if self.threads.get(thread.parent) == thread.told:
            del self.threads[thread.parent]

    def postpone(self, thread: Thread) -> None:
        """Let other threads go first; this one is read from its start again."""
        self.thread = None
        self.threads[thread.parent] = self.threads.pop(thread.parent, thread.told)

    def swept(self) -> Place | None:
        """Return the place after a sweep all of whose threads are read; None while there is none."""
        if self._sweep is None or self.threads or self.place is None:
            return None
        return threads_read(self.place, self._sweep)

    def took_sweep(self) -> None:
        """Forget a sweep whose place is stored."""
        self._sweep = None

    def fresh(self, mentions: Iterable[Mention], names: Iterable[Name]) -> list[tuple[Mention, Name]]:
        """Return who has not had which mention."""
        wanted = list(names)
        return [(one, name) for one in mentions for name in wanted if (one.message.ts, name) not in self.known]

    def prune(self) -> None:
        """Forget what no page can bring again."""
        assert self.place is not None, "a channel has a place before it is read"
        least = min(self.place.newest, self.place.replies) - OVERLAP
        self.known = {one for one in self.known if micros(one[0]) > least}
        self._read = {parent: told for parent, told in self._read.items() if told[0] > self.place.replies}
