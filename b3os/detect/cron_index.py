"""The schedules of all active cron triggers over the compiled timetable: an idle tick looks at one number. Pure."""

from b3os._speedups.cron import WINDOW, Schedule, Timetable
from b3os.detect.rrules import Rule


class CronIndex:
    """Schedules by number, which the caller chose. Everything due up to `through_s` counts as fired."""

    def __init__(self, through_s: int) -> None:
        self._table = Timetable(through_s)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def through_s(self) -> int:
        """The time up to which everything due was returned."""
        return self._table.through

    def put(self, number: int, schedule: Schedule, *, since_s: int, missed: int) -> None:
        """Add a trigger or replace it; it fires for slots after `since_s` that were not yet fired through."""
        self._table.put(number, schedule, since_s, missed)

    def drop(self, number: int) -> None:
        """Forget a trigger, if it is there."""
        self._table.drop(number)

    def due(self, now_s: int, limit: int) -> list[tuple[int, int]]:
        """Return (slot, number) as each policy runs them, oldest first; after `limit` or more the rest stays due."""
        due = self._table.due(now_s, limit)
        return [(slot, number) for slot in sorted(due) for number in due[slot]]

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
