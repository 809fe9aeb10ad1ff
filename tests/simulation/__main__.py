"""`python -m tests.simulation --seeds N [--first M]`: runs seeds; a failing one prints the shortest history found."""

import argparse
import sys
import time

from tests.simulation.engine import report
from tests.simulation.faults import plan


def main() -> int:
    """Run the seeds; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=1)
    chosen = parser.parse_args()
    began, failed = time.monotonic(), 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        found = report(seed, plan(seed))
        if found is not None:
            failed += 1
            print(found, flush=True)
    print(f"{chosen.seeds} seeds, {failed} failed, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


sys.exit(main())
