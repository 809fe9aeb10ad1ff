"""What a node costs the shared servers, for 1 to 16 workers: more workers must not cost more for the same work.

Runs come one by one at a pace that every number of workers keeps up with, so that no batch hides what a run costs;
what the same installation costs with nothing to do is taken off.
"""

import tempfile
import time
from functools import cache
from typing import Any

import msgspec
import redis

from bench.engine import FOUR
from bench.idle import lines
from bench.report import Gate, remark
from bench.running import Running, up_in

WORKERS = (1, 2, 4, 8, 16)
RATE, RUNS = 100, 1000
NODES = 4
WARM = 50
#: Enough for every lease of a start to be taken and renewed.
SETTLE_S = 8.0


class Cost(msgspec.Struct, frozen=True):
    """Statements of PostgreSQL, commands of the ops Redis (those inside scripts too), and bytes to and from it."""

    statements: float
    commands: float
    bytes: float

    def less(self, other: "Cost") -> "Cost":
        """Return what this is more than another."""
        return Cost(self.statements - other.statements, self.commands - other.commands, self.bytes - other.bytes)


def counted(up: Running, ops: Any) -> Cost:
    """Count since the servers started; our own INFO is a command of a few kB, the same each time."""
    stats: dict[str, Any] = ops.info("all")
    commands = sum(found["calls"] for name, found in stats.items() if name.startswith("cmdstat_"))
    return Cost(lines(up.folder), commands, stats["total_net_input_bytes"] + stats["total_net_output_bytes"])


def spent(up: Running, ops: Any, secret: str, runs: int) -> Cost:
    """Count over the time that so many runs take at the pace; 0: nothing happens in it."""
    before = counted(up, ops)
    if runs:
        up.fire(secret, runs, connections=4, rate=RATE)
        up.settle()
    else:
        time.sleep(RUNS / RATE)
    return counted(up, ops).less(before)


def per_node(workers: int) -> Cost:
    """Return what a node costs with so many workers."""
    with tempfile.TemporaryDirectory(prefix="b3w") as folder:
        with up_in(folder) as up:
            up.tell("alter role b3os set log_min_messages = 'log'", "alter role b3os set log_statement = 'all'")
        with up_in(folder, "--workers", str(workers)) as up:
            ops = redis.Redis(unix_socket_path=f"{folder}/ops.sock")
            secret = up.publish(FOUR)
            up.fire(secret, WARM * workers, connections=4, rate=RATE * 4)
            time.sleep(SETTLE_S)
            idle = spent(up, ops, secret, 0)
            busy = spent(up, ops, secret, RUNS).less(idle)
            ops.close()
    nodes = RUNS * NODES
    found = Cost(busy.statements / nodes, busy.commands / nodes, busy.bytes / nodes)
    remark(f"{workers:2} workers: {found.statements:.3f} statements, {found.commands:.2f} Redis commands, "
           f"{found.bytes:.0f} bytes a node")  # fmt: skip
    return found


@cache
def measured() -> tuple[Cost, ...]:
    """Measure every number of workers."""
    return tuple(per_node(workers) for workers in WORKERS)


def growth() -> float:
    """By how many percent the dearest number of workers is dearer than one worker, in the worst of the three."""
    first, *rest = map(msgspec.structs.astuple, measured())
    return float(max((more / one - 1) * 100 for cost in rest for more, one in zip(cost, first, strict=True)))


GATES = (
    Gate(
        name="a node's statements, Redis commands and bytes, 2 to 16 workers over one", unit="%", bar=5, measure=growth,
        forget=measured.cache_clear,
        reason="each machine that is added would load the shared servers more than it helps",
    ),
)  # fmt: skip
