"""The price index: a tick at a million thresholds, changes among them, and what a threshold holds."""

import random
import subprocess
import sys
from pathlib import Path

from b3os._speedups.price_index import ABOVE, BELOW, CROSS_DOWN, CROSS_UP, PriceIndex
from bench.report import Gate, medians, remark

MANY, FEW = 1_000_000, 1000
HITS = 10
#: Distance between neighbouring levels, in 1/10**18 units.
STEP = 10**15
TICKS = 1000
CHANGES = 1000
KINDS = (CROSS_UP, ABOVE, CROSS_DOWN, BELOW)


def filled(count: int) -> PriceIndex:
    """Watch one asset at `count` levels, put in random order; one in four for each operation."""
    index = PriceIndex()
    slots = list(range(count))
    random.Random(7).shuffle(slots)
    for slot in slots:
        index.put(slot, "BTCUSD", KINDS[slot % 4], slot * STEP)
    return index


def swing(index: PriceIndex) -> list[tuple[str, int]]:
    """Return ticks that move up and down over twenty levels in the middle: HITS thresholds fire at each of them."""
    middle = len(index) // 2 * STEP + STEP // 2
    ticks = [("BTCUSD", middle + (20 * STEP if number % 2 else 0)) for number in range(TICKS)]
    index.match(ticks)  # what held from the start has fired
    hits, _ = index.match(ticks)
    assert len(hits) == HITS * TICKS
    return ticks


def tick_us() -> float:
    """Microseconds of a tick with ten hits at a million thresholds, hits and re-arming included."""
    index = filled(MANY)
    ticks = swing(index)
    return medians(9, lambda: index.match(ticks))[0] / TICKS * 1e6


def growth() -> float:
    """The same tick at a million thresholds over the one at a thousand."""
    large, small = filled(MANY), filled(FEW)
    far, near = swing(large), swing(small)
    big, little = medians(9, lambda: large.match(far), lambda: small.match(near))
    remark(f"a tick with {HITS} hits: {big / TICKS * 1e6:.1f} us at {MANY:,}, {little / TICKS * 1e6:.1f} us at {FEW:,}")
    return big / little


def change_ms() -> float:
    """Milliseconds to move a thousand thresholds among a million of one asset."""
    index = filled(MANY)
    rng = random.Random(3)

    def change() -> None:
        for slot in rng.sample(range(MANY), CHANGES):
            index.put(slot, "BTCUSD", KINDS[slot % 4], rng.randrange(MANY) * STEP)

    return medians(9, change)[0] * 1e3


def bytes_per_threshold() -> float:
    """Resident memory of a million thresholds, measured in a process of its own."""
    code = "from bench.prices import resident; resident()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def resident() -> None:
    """Print the growth of this process by a million thresholds, bytes each."""

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    slots = list(range(MANY))
    random.Random(7).shuffle(slots)
    levels = [slot * STEP for slot in slots]
    index, before = PriceIndex(), pages()
    for slot, level in zip(slots, levels, strict=True):
        index.put(slot, "BTCUSD", KINDS[slot % 4], level)
    print((pages() - before) / len(index))


GATES = (
    Gate(
        name=f"prices: a tick at 1,000,000 thresholds, {HITS} hits", unit="us", bar=20, measure=tick_us,
        reason="a feed of many assets would not fit in the loop",
    ),
    Gate(
        name="prices: a tick at 1,000,000 thresholds / at 1,000", bar=4, measure=growth, is_quick=True,
        reason="a tick would depend on how many workflows watch the asset",
    ),
    Gate(
        name="prices: 1,000 changes among 1,000,000 thresholds of one asset", unit="ms", bar=10, measure=change_ms,
        reason="publishing would hold up the loop",
    ),
    Gate(
        name="prices: bytes per threshold at 1,000,000", bar=150, measure=bytes_per_threshold, is_quick=True,
        reason="a million thresholds would not fit a small machine",
    ),
)  # fmt: skip
