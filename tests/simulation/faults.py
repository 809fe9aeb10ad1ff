"""What goes wrong, when, to whom and for how long: a plan that a seed makes, and that can be shortened."""

import random

import msgspec

#: Faults happen before this second; from then on everything works.
HEALED_S = 24.0
KINDS = (
    "kill worker", "kill worker", "pause worker", "pause worker", "stop worker", "kill master", "pause master",
    "flush redis", "redis down", "postgres down", "lossy network",
)  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong; `place` chooses among the processes there are."""

    at: float
    kind: str
    place: int
    lasts: float

    def __str__(self) -> str:
        return f"{self.at:6.2f} s  {self.kind} {self.place} for {self.lasts:.2f} s"


def plan(seed: int) -> list[Fault]:
    """Make the faults of a seed."""
    rng = random.Random(seed)
    found = []
    for _ in range(rng.randrange(2, 9)):
        at = rng.uniform(0.2, HEALED_S - 1)
        lasts = min(rng.choice((0.3, 2.0, 7.0, 13.0)), HEALED_S - at)
        found.append(Fault(at, rng.choice(KINDS), rng.randrange(3), lasts))
    return sorted(found, key=lambda fault: fault.at)
