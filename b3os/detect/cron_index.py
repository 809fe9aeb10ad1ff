"""The schedules of all active cron triggers as a heap of next slots: an idle tick looks at one number. Pure."""

import heapq
from typing import Generic, TypeVar

from b3os.detect.schedules import NextAfter

Row = TypeVar("Row")
Key = tuple[str, str]


class CronIndex(Generic[Row]):
    """Next slots by trigger; removed and replaced ones are skipped when they surface."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._entries: dict[Key, tuple[int, NextAfter, Row]] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Key, schedule: NextAfter, row: Row, now_s: int) -> None:
        """Add a trigger or replace it; its first slot is after `now_s`."""
        self._number += 1
        self._entries[key] = (self._number, schedule, row)
        self._arm(key, now_s)

    def drop(self, key: Key) -> None:
        """Forget a trigger, if it is there."""
        self._entries.pop(key, None)

    def due(self, now_s: int) -> list[tuple[int, Row]]:
        """Return the newest due slot of each trigger and arm its next: a thousand late runs help nobody."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            slot, number, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry[0] != number:
                continue
            later = entry[1](slot)
            while later is not None and later <= now_s:
                slot, later = later, entry[1](later)
            found.append((slot, entry[2]))
            self._arm(key, slot)
        return found

    def rearm(self, since_s: int) -> None:
        """Arm every trigger anew from a time: after a take-over, from the last time that was fired through."""
        self._heap.clear()
        for key in self._entries:
            self._arm(key, since_s)

    def _arm(self, key: Key, after_s: int) -> None:
        number, schedule, _ = self._entries[key]
        slot = schedule(after_s)
        if slot is not None:
            heapq.heappush(self._heap, (slot, number, key))
