"""`python -m bench.peers [row ...]`: other engines and queues and ours in turn, on this machine; fails below the bars.

The rows are nodes, webhook and queue.
"""

import os
import signal
import sys
from typing import NoReturn

from bench.peers.children import PeerFailed
from bench.peers.install import CannotInstall, install
from bench.peers.rows import ROWS, Row
from bench.report import check, remark


def say(row: Row) -> None:
    """Print what a row compares."""
    print(f"\n{row.title}", flush=True)
    for side in row.sides:
        remark(f"{side.name}: {side.work}. Durable: {side.durable}")


def end(_number: int, _frame: object) -> NoReturn:
    """Leave by way of everything that has been started."""
    sys.exit(128 + signal.SIGTERM)


def main(names: list[str]) -> int:
    """Install the peers, measure the rows that are named, or all; returns the exit status."""
    signal.signal(signal.SIGTERM, end)
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        print(f"no row {', '.join(sorted(unknown))}: there are {', '.join(row.name for row in ROWS)}")
        return 2
    try:
        install()
    except CannotInstall as error:
        print(error)
        return 2
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first round")
    missed = []
    try:
        for row in [row for row in ROWS if row.name in names or not names]:
            say(row)
            missed += [gate.name for gate in row.gates if not check(gate)]
    except PeerFailed as error:
        print(error)
        return 1
    for name in missed:
        remark(f"missed: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
