"""What an engine with nothing to do costs: one of each process, 100,000 published workflows, nothing happening."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import redis

from b3os.embedded.supervisor import free_port
from bench.report import Gate, remark

WORKFLOWS = 100_000
#: The first seconds belong to starting: leases are taken, checks look once.
SETTLE_S = 40.0
WATCH_S = 30.0

FILL = """
insert into workflows (org_id, id, name, status, live_version)
    select 'org_' || n % 100, 'wf_' || n, 'idle', 'active', 1 from generate_series(1, {n}) n;
insert into triggers (org_id, workflow_id, node_id, version, type, payload)
    select 'org_' || n % 100, 'wf_' || n, 'root', 1, 'webhook', '{{}}' from generate_series(1, {n}) n;
analyze workflows; analyze triggers;
"""


class Idle(msgspec.Struct, frozen=True):
    """A second of the idle engine."""

    commits: float
    statements: float
    redis: float


def started(folder: str) -> subprocess.Popen[str]:
    """Start everything; returns when it is ready."""
    up = subprocess.Popen(
        [sys.executable, "-m", "b3os.cli", "up", "--json", "--port", str(free_port()), "--data-dir", folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert up.stdout is not None
    assert "ready" in up.stdout.readline()
    return up


def stopped(up: subprocess.Popen[str]) -> None:
    """Stop everything."""
    up.send_signal(signal.SIGTERM)
    up.wait()
    assert up.stdout is not None
    up.stdout.close()


async def on_database(folder: str, *statements: str) -> Any:
    """Run statements, the last one for its value."""
    db = await asyncpg.connect(f"postgresql://b3os@/postgres?host={folder}")
    try:
        for statement in statements[:-1]:
            await db.execute(statement)
        return await db.fetchval(statements[-1])
    finally:
        await db.close()


def lines(folder: str) -> int:
    """How many statements the server has logged."""
    text = (Path(folder) / "postgres.log").read_text(errors="replace")
    return text.count("LOG:  execute ") + text.count("LOG:  statement: ")


@cache
def measured() -> Idle:
    """Watch the idle engine; commits are those that wrote, since only they wait for the disk."""
    with tempfile.TemporaryDirectory(prefix="b3i") as folder:
        up = started(folder)
        # The database's own upkeep after this bulk insert is not the engine's.
        calm = "alter system set autovacuum = off"
        told = ("alter role b3os set log_min_messages = 'log'", "alter role b3os set log_statement = 'all'")
        asyncio.run(on_database(folder, FILL.format(n=WORKFLOWS), calm, *told, "select 1"))
        stopped(up)
        up = started(folder)
        try:
            return watch(folder)
        finally:
            stopped(up)


def watch(folder: str) -> Idle:
    """Count over a while."""
    written = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    ops = redis.Redis(unix_socket_path=f"{folder}/ops.sock")
    time.sleep(SETTLE_S)
    commits, statements = asyncio.run(on_database(folder, written)), lines(folder)
    ops.config_resetstat()
    time.sleep(WATCH_S)
    stats: dict[str, Any] = ops.info("commandstats")
    # Ours are one statement, INFO and CONFIG; what scripts call inside counts.
    counted = {name[8:]: found["calls"] for name, found in stats.items() if "info" not in name and "config" not in name}
    ops.close()
    seen = lines(folder) - statements
    commits = asyncio.run(on_database(folder, written)) - commits
    remark("Redis: " + ", ".join(f"{name} {calls / WATCH_S:.1f}/s" for name, calls in sorted(counted.items())))
    return Idle(commits / WATCH_S, seen / WATCH_S, sum(counted.values()) / WATCH_S)


GATES = (
    Gate(name="idle commits that write", unit="/s", bar=1, measure=lambda: measured().commits,
         reason="an idle installation keeps a disk awake"),
    Gate(name="idle statements", unit="/s", bar=15, measure=lambda: measured().statements,
         reason="an idle installation keeps its database busy"),
    Gate(name="idle Redis commands", unit="/s", bar=5, measure=lambda: measured().redis,
         reason="an idle installation keeps Redis busy"),
)  # fmt: skip
