"""`python -m bench.peers`: other engines and queues and ours in turn, on this machine; fails below the bars."""

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


def main() -> int:
    """Install the peers, measure the rows; returns the exit status."""
    signal.signal(signal.SIGTERM, end)
    try:
        install()
    except CannotInstall as error:
        print(error)
        return 2
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the first round")
    missed = []
    try:
        for row in ROWS:
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
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
