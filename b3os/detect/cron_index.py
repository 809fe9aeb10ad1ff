"""The schedules of all active cron triggers over the compiled timetable: an idle tick looks at one number. Pure."""

from typing import Generic, TypeVar

from b3os._speedups.cron import WINDOW, Schedule, Timetable
from b3os.detect.rrules import Rule

Row = TypeVar("Row")
Key = tuple[str, str]


class CronIndex(Generic[Row]):
    """Rows by number of the timetable; numbers are used again. Everything due up to `through_s` counts as fired."""

    def __init__(self, through_s: int) -> None:
        self._table = Timetable(through_s)
        self._rows: list[Row | None] = []
        self._free: list[int] = []
        self._numbers: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def through_s(self) -> int:
        """The time up to which everything due was returned."""
        return self._table.through

    def put(self, key: Key, schedule: Schedule, row: Row, *, since_s: int, missed: int) -> None:
        """Add a trigger or replace it; it fires for slots after `since_s` that were not yet fired through."""
        number = self._numbers.get(key)
        if number is None:
            if not self._free:
                self._free.append(len(self._rows))
                self._rows.append(None)
            number = self._free.pop()
        self._table.put(number, schedule, since_s, missed)
        self._rows[number] = row
        self._numbers[key] = number

    def drop(self, key: Key) -> None:
        """Forget a trigger, if it is there."""
        number = self._numbers.pop(key, None)
        if number is not None:
            self._table.drop(number)
            self._rows[number] = None
            self._free.append(number)

    def due(self, now_s: int, limit: int) -> list[tuple[int, Row]]:
        """Return due slots as each policy runs them, oldest first; after `limit` or more the rest stays due."""
        rows, due = self._rows, self._table.due(now_s, limit)
        return [(slot, row) for slot in sorted(due) for number in due[slot] if (row := rows[number]) is not None]

    def rearm(self, through_s: int) -> None:
        """Arm every trigger anew from a time: after a take-over, from the last time that was fired through."""
        self._table.rearm(through_s)

    def wanted(self) -> list[tuple[Schedule, int]]:
        """Return the schedules whose windows are to be computed, and from when; the urgent first."""
        return self._table.wanted()

    def fill(self, schedule: Schedule, after_s: int, slots: list[int], is_final: bool) -> None:
        """Take a computed window: all slots after a time, up to the last of them."""
        self._table.fill(schedule, after_s, slots, is_final)


def compute_window(schedule: Schedule, after_s: int) -> tuple[list[int], bool]:
    """Compute the slots of the next window, and whether nothing follows; may take half a second, so do it aside."""
    rule: Rule = schedule.rule
    return rule.window(after_s, WINDOW)
