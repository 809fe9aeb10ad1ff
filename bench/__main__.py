"""`python -m bench [--quick] [suite ...]`: every figure against its bar; fails when one falls short.

Each suite is a module with `GATES`. `--quick` measures the gates that `make test` runs: ratios only, under 3 minutes.
"""

import importlib
import sys

from bench.report import Gate, check, remark

SUITES = (
    "installation",
    "index",
    "prices",
    "expression",
    "dag",
    "queue",
    "idle",
    "cron",
    "tick",
    "chains",
    "anvils",
    "engine",
    "workers",
)


def gates_of(suite: str) -> tuple[Gate, ...]:
    """Return the gates of a suite; suites are imported only when they are measured."""
    found: tuple[Gate, ...] = importlib.import_module(f"bench.{suite}").GATES
    return found


def main(arguments: list[str]) -> int:
    """Measure the suites that are named, or all; returns the exit status."""
    is_quick = "--quick" in arguments
    chosen = [name for name in arguments if not name.startswith("--")] or list(SUITES)
    unknown = set(chosen) - set(SUITES)
    if unknown:
        print(f"no suite {', '.join(sorted(unknown))}: there are {', '.join(SUITES)}")
        return 2
    missed = []
    for suite in chosen:
        missed += [gate.name for gate in gates_of(suite) if (gate.is_quick or not is_quick) and not check(gate)]
    for name in missed:
        remark(f"missed: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
