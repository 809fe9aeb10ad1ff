"""The durable engine from a webhook to the end of its run: one of each process on this machine, PostgreSQL with fsync.

Every figure holds for stored work: a webhook is answered when its run is committed, and a node counts once its result
is. Times between processes are read from what is stored, on the clock of this machine.
"""

import contextlib
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.report import Gate, remark
from bench.running import Running, running

WARM = 500
RUNS = 4000
CONNECTIONS = 32
ALONE = 300
RATE, PACED = 500, 2500
#: A loop in a loop, and one loop more: 100 x (98 + 1) + 1 nodes, and 98 + 1, as many as a run may have.
OUTER, INNER = 100, 98
LOOP_NODES = 10_000
#: Runs in hand of the worker that is killed: as many as one holds.
HELD = 200
TAKEOVER_S = 60.0
#: A backend tells the statistics at most this long after its last transaction.
STATISTICS_S = 11.0

FOUR: dict[str, Any] = {
    "root": {"type": "webhook", "payload": {}, "children": ["a"]},
    "a": {
        "type": "format",
        "payload": {"template": "x {{@n}}", "data": {"n": "{{$trigger.body.n}}"}},
        "children": ["b"],
    },
    "b": {"type": "if", "payload": {"condition": {"$and": [{"{{$trigger.body.n}}": {"$gte": 0}}]}}, "children": ["c"]},
    "c": {"type": "convert-to-wei", "branch": "then", "payload": {"value": "1.5"}, "children": ["d"]},
    "d": {"type": "log", "payload": {"message": "{{a.result.formatted}} {{c.result.wei}}"}, "children": []},
}
LOOPS: dict[str, Any] = {
    "root": {"type": "webhook", "payload": {}, "children": ["outer"]},
    "outer": {
        "type": "for-each", "payload": {"array": list(range(OUTER))}, "loopBody": ["inner"], "children": ["more"],
    },
    "inner": {
        "type": "for-each", "payload": {"array": list(range(INNER))}, "loopBody": ["leaf"], "children": [],
    },
    "leaf": {"type": "convert-to-wei", "payload": {"value": "1.5"}, "children": []},
    "more": {
        "type": "for-each", "payload": {"array": list(range(INNER))}, "loopBody": ["last"], "children": [],
    },
    "last": {"type": "convert-to-wei", "payload": {"value": "1.5"}, "children": []},
}  # fmt: skip


def percentile(values: list[float], share: float) -> float:
    """Return the value that a share of all does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def alone() -> float:
    """Milliseconds from one request to the event that follows the stored end of its run, the median."""
    with running() as up:
        secret = up.publish(FOUR)
        up.fire(secret, ALONE, follow=True)
        each = up.fire(secret, ALONE, follow=True).each_s
    remark(f"one run alone, to its stored end: p99 {percentile(each, 0.99) * 1e3:.2f} ms")
    return statistics.median(each) * 1e3


def commits() -> float:
    """Commits that the database counts over the runs of a load, those of statements that only read among them."""
    with running() as up:
        secret = up.publish(FOUR)
        up.fire(secret, WARM, connections=CONNECTIONS)
        up.settle()
        time.sleep(STATISTICS_S)
        quiet = counted(up)
        time.sleep(STATISTICS_S)
        cpu, before = up.cpu(), counted(up)
        began = time.monotonic()
        fired = up.fire(secret, RUNS, connections=CONNECTIONS)
        up.settle()
        took, after = time.monotonic() - began, up.cpu()
        time.sleep(STATISTICS_S)
        # The last wait is for the figures only, and an idle engine's statements in it belong to no run.
        total, written = (
            now - 2 * then + earlier for now, then, earlier in zip(counted(up), before, quiet, strict=True)
        )
    remark(f"{RUNS / fired.took_s:,.0f} webhooks/s accepted at {CONNECTIONS} connections, {RUNS / took:,.0f} runs/s "
           f"ended; an answer p50 {percentile(fired.each_s, 0.5) * 1e3:.1f} ms, "
           f"p99 {percentile(fired.each_s, 0.99) * 1e3:.1f} ms")  # fmt: skip
    spent = {name: (after[name] - cpu.get(name, 0.0)) / RUNS * 1e6 for name in after}
    remark("CPU microseconds a run: " + ", ".join(f"{name} {us:.0f}" for name, us in sorted(spent.items()) if us >= 1))
    remark(f"of {total / RUNS:.3f} commits a run, {written / RUNS:.3f} wrote something")
    return total / RUNS


def counted(up: Running) -> tuple[int, int]:
    """Return how many transactions were committed, and how many took a number, as those that write do."""
    query = """
        select xact_commit, pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        from pg_stat_database where datname = current_database()
    """
    row = up.ask(query)[0]
    return row[0], row[1]


def first_nodes() -> list[float]:
    """Milliseconds from the commit that accepted a webhook to the start of its first node.

    Starts are stored in whole milliseconds: each counts as the middle of its own.
    """
    with running() as up:
        secret = up.publish(FOUR)
        up.fire(secret, WARM, connections=CONNECTIONS)
        up.settle()
        since = up.ask("select clock_timestamp()")[0][0]
        up.fire(secret, PACED, connections=CONNECTIONS, rate=RATE)
        up.settle()
        query = """
            select n.started_ms + 0.5 - extract(epoch from pg_xact_commit_timestamp(c.xmin)) * 1000
            from receipts c join node_runs n on n.org_id = c.org_id and n.run_id = c.run_id
            where n.node_id = 'a' and c.received_at > $1
        """
        found = [float(row[0]) for row in up.ask(query, since)]
    assert len(found) == PACED
    return found


def first_p50() -> float:
    """The median of the start of the first node."""
    return percentile(first_nodes(), 0.5)


def first_p99() -> float:
    """The slowest hundredth of the start of the first node."""
    return percentile(first_nodes(), 0.99)


def loop() -> float:
    """Nodes a second of one run, from its webhook's request to its stored end."""
    with running() as up:
        secret = up.publish(LOOPS)
        each = [up.fire(secret, 1, follow=True).each_s[0] for _ in range(5)]
        found = up.ask("select run_id, count(*) n from node_runs where status = 'success' group by run_id")
    assert {row["n"] for row in found} == {LOOP_NODES}
    remark(f"{LOOP_NODES:,} nodes of one run, the first time {each[0] * 1e3:.0f} ms, later "
           f"{statistics.median(each[1:]) * 1e3:.0f} ms")  # fmt: skip
    return LOOP_NODES / statistics.median(each[1:])


class Slow(ThreadingHTTPServer):
    """Keeps every call waiting until `release`."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        self.release = threading.Event()
        super().__init__(("127.0.0.1", 0), SlowCall)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class SlowCall(BaseHTTPRequestHandler):
    """One call."""

    server: Slow

    def do_GET(self) -> None:
        """Hold the call, answer."""
        self.server.release.wait(TAKEOVER_S)
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def await_owners(up: Running, claims: int) -> None:
    """Wait until every run has been claimed so often."""
    limit = time.monotonic() + TAKEOVER_S
    while up.ask("select count(*) n from runs where epoch >= $1", claims)[0]["n"] < HELD:
        if time.monotonic() > limit:
            raise RuntimeError(f"runs were not claimed {claims} times")
        time.sleep(0.1)


def takeover() -> float:
    """Seconds from kill -9 of a worker until each of its runs has its next owner, the slowest hundredth."""
    slow = Slow()
    address = f"127.0.0.1:{slow.server_port}"
    nodes = {
        "root": {"type": "webhook", "payload": {}, "children": ["call"]},
        "call": {"type": "http-request", "payload": {"url": f"http://{address}/", "method": "GET"}, "children": []},
    }
    with running(B3OS_EGRESS_ALLOW=address) as up:
        up.fire(up.publish(nodes), HELD, connections=CONNECTIONS)
        await_owners(up, 1)
        up.kill("worker")
        killed = time.time()
        await_owners(up, 2)
        claims = up.ask("select extract(epoch from pg_xact_commit_timestamp(xmin)) at from runs where epoch = 2")
        slow.release.set()
        up.settle()
        ended = [tuple(row) for row in up.ask("select status, count(*) n from runs group by status")]
        burnt = up.ask("select coalesce(sum(attempt - 1), 0) n from node_runs")[0]["n"]
    slow.shutdown()
    slow.server_close()
    remark(f"{len(claims)} runs in hand of the killed worker ended: {ended}, retries burnt {burnt}")
    assert not burnt
    assert ended == [("success", HELD)]
    return percentile([float(row["at"]) - killed for row in claims], 0.99)


GATES = (
    Gate(
        name="webhook + 4 nodes alone, to the stored end, p50", unit="ms", bar=4, measure=alone,
        reason="who waits for one run's end waits longer than for the nodes",
    ),
    Gate(
        name="commits a run of 4 nodes, 32 connections", bar=0.2, measure=commits,
        reason="the disk, and not the processor, would set how many runs there can be",
    ),
    Gate(
        name="committed to first node at 500/s, p50", unit="ms", bar=2, measure=first_p50,
        reason="a run begins later than it was asked for",
    ),
    Gate(
        name="committed to first node at 500/s, p99", unit="ms", bar=10, measure=first_p99,
        reason="one run in a hundred begins later than anyone expects",
    ),
    Gate(
        name="one run of 10,000 nodes in loops", unit="nodes/s", bar=5000, at_least=True, measure=loop,
        reason="a long list takes longer to work through than to fetch",
    ),
    Gate(
        name="takeover after kill -9 of a worker, p99", unit="s", bar=10, measure=takeover,
        reason="a dead machine's runs would stand still",
    ),
)  # fmt: skip
