"""Asking what thresholds ask: every call once, and one that failed alone, less and less often."""

from collections.abc import Callable, Collection

from b3os.chain.blocks import Header
from b3os.detect.thresholds import Call
from b3os.reading.states import Answer, States

BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
#: Failing calls that are remembered; the oldest leave first.
MOST = 10_000
#: How a call stands that has not failed: how often it has, and when it may be asked.
_NEVER = (0, float("-inf"))


def backoff_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row."""
    return BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]


class Asking:
    """The calls of one chain, and how they fared."""

    def __init__(self, states: States, now: Callable[[], float]) -> None:
        self._states = states
        self._now = now
        #: Calls that failed: how often in a row, and when they are asked again.
        self._failing: dict[Call, tuple[int, float]] = {}

    def __len__(self) -> int:
        """How many calls fail."""
        return len(self._failing)

    def forget(self) -> None:
        """Ask everything again."""
        self._failing.clear()

    def is_due(self, call: Call) -> bool:
        """Whether a call may be asked now."""
        return self._failing.get(call, _NEVER)[1] <= self._now()

    async def answers(self, header: Header, calls: Collection[Call]) -> dict[Call, Answer]:
        """Ask at a block what is due, and return the answers; raises as States.read does."""
        alone = {call for call in calls if call in self._failing}
        due = [call for call in alone if self.is_due(call)]
        answers = await self._states.read(header, sorted(set(calls) - alone), alone=sorted(due))
        for call, answer in answers.items():
            failures, _ = self._failing.pop(call, _NEVER)
            if isinstance(answer, str):
                if len(self._failing) >= MOST:
                    del self._failing[next(iter(self._failing))]
                self._failing[call] = (failures + 1, self._now() + backoff_s(failures + 1))
        return answers
