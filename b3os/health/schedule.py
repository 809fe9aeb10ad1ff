"""When each check is due: spread by jitter, never twice at once. Pure: time and chance are given."""

import heapq
from collections.abc import Callable


class Schedule:
    """Due times by check id; a check that was handed out is due again only after `done`."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._heap: list[tuple[float, str]] = []

    def add(self, check_id: str, now: float, within_s: float) -> None:
        """Add a check; it is first due somewhere in the next `within_s` seconds."""
        heapq.heappush(self._heap, (now + within_s * self._chance(), check_id))

    def due(self, now: float) -> list[str]:
        """Take the checks that are due."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(heapq.heappop(self._heap)[1])
        return found

    def done(self, check_id: str, now: float, wait_s: float) -> None:
        """Arm a check again, a tenth earlier or later than `wait_s`, so that checks drift apart."""
        heapq.heappush(self._heap, (now + wait_s * (0.9 + 0.2 * self._chance()), check_id))
