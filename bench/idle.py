"""What an engine with nothing to do costs: one of each process, 100,000 published workflows, nothing happening."""

import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import redis

from bench.report import Gate, remark
from bench.running import Running, up_in

WORKFLOWS = 100_000
#: The first seconds belong to starting: leases are taken, checks look once.
SETTLE_S = 40.0
WATCH_S = 30.0

FILL = (
    f"""insert into workflows (org_id, id, name, status, live_version)
    select 'org_' || n % 100, 'wf_' || n, 'idle', 'active', 1 from generate_series(1, {WORKFLOWS}) n""",
    f"""insert into triggers (org_id, workflow_id, node_id, version, type, payload)
    select 'org_' || n % 100, 'wf_' || n, 'root', 1, 'webhook', '{{}}' from generate_series(1, {WORKFLOWS}) n""",
    "analyze workflows",
    "analyze triggers",
)


class Idle(msgspec.Struct, frozen=True):
    """A second of the idle engine."""

    commits: float
    statements: float
    redis: float


def lines(folder: str) -> int:
    """How many statements the server has logged."""
    text = (Path(folder) / "postgres.log").read_text(errors="replace")
    return text.count("LOG:  execute ") + text.count("LOG:  statement: ")


@cache
def measured() -> Idle:
    """Watch the idle engine; commits are those that wrote, since only they wait for the disk."""
    with tempfile.TemporaryDirectory(prefix="b3i") as folder:
        with up_in(folder) as up:
            up.tell(*FILL)
            # The database's own upkeep after this bulk insert is not the engine's.
            up.tell("alter system set autovacuum = off")
            up.tell("alter role b3os set log_min_messages = 'log'", "alter role b3os set log_statement = 'all'")
        with up_in(folder) as up:
            return watch(up)


def watch(up: Running) -> Idle:
    """Count over a while."""
    ops = redis.Redis(unix_socket_path=f"{up.folder}/ops.sock")
    time.sleep(SETTLE_S)
    commits, statements = numbered(up), lines(up.folder)
    ops.config_resetstat()
    time.sleep(WATCH_S)
    stats: dict[str, Any] = ops.info("commandstats")
    # Ours are one statement, INFO and CONFIG; what scripts call inside counts.
    counted = {name[8:]: found["calls"] for name, found in stats.items() if "info" not in name and "config" not in name}
    ops.close()
    seen = lines(up.folder) - statements
    commits = numbered(up) - commits
    remark("Redis: " + ", ".join(f"{name} {calls / WATCH_S:.1f}/s" for name, calls in sorted(counted.items())))
    return Idle(commits / WATCH_S, seen / WATCH_S, sum(counted.values()) / WATCH_S)


def numbered(up: Running) -> int:
    """How many transactions have taken a number, as those that write do."""
    return int(up.ask("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0][0])


GATES = (
    Gate(name="idle commits that write", unit="/s", bar=1, measure=lambda: measured().commits,
         forget=measured.cache_clear,
         reason="an idle installation keeps a disk awake"),
    Gate(name="idle statements", unit="/s", bar=15, measure=lambda: measured().statements,
         forget=measured.cache_clear,
         reason="an idle installation keeps its database busy"),
    Gate(name="idle Redis commands", unit="/s", bar=5, measure=lambda: measured().redis,
         forget=measured.cache_clear,
         reason="an idle installation keeps Redis busy"),
)  # fmt: skip
