"""The rows of `make bench-peers`: what is counted, what each side makes durable and when it answers, and the bars.

Every ratio is between two things of the same kind: runs of four nodes, webhooks, tasks. Loops are measured and shown,
and have no bar: there the sides do not promise the same.
"""

from collections.abc import Callable
from functools import cache

import msgspec

from bench.peers import engines, queues
from bench.peers.rounds import Rates, rates
from bench.report import Gate


class Side(msgspec.Struct, frozen=True):
    """One engine or queue in a row."""

    name: str
    work: str
    durable: str


class Row(msgspec.Struct, frozen=True):
    """One comparison."""

    name: str
    title: str
    sides: tuple[Side, ...]
    gates: tuple[Gate, ...]


@cache
def engine_rates() -> Rates:
    """Measure the engines."""
    with engines.engines() as rounds:
        return rates(rounds)


@cache
def queue_rates() -> Rates:
    """Measure the queues."""
    with queues.queues() as rounds:
        return rates(rounds)


def nodes_over(peer: str, nodes: int) -> Callable[[], float]:
    """Make the ratio of our nodes a second to a peer's, whose figure counts so many nodes each."""
    return lambda: engine_rates()["ours, nodes in chains"] / (engine_rates()[peer] * nodes)


def answers_over_n8n() -> float:
    """Return the ratio of our answered runs a second to n8n's."""
    return engine_rates()["ours, runs answered"] / engine_rates()["n8n, runs answered"]


def tasks_over(*peers: str) -> Callable[[], float]:
    """Make the ratio of our tasks a second to those of the best of some queues, each by its fastest way to send."""

    def measure() -> float:
        best = max(rate for name, rate in queue_rates().items() if name.partition(",")[0] in peers)
        return max(rate for name, rate in queue_rates().items() if name.startswith("ours")) / best

    return measure


def gate(name: str, bar: float, measure: Callable[[], float], reason: str, *, of_queue: bool = False) -> Gate:
    """Make a gate; a shortfall measures its whole row again."""
    forget = queue_rates.cache_clear if of_queue else engine_rates.cache_clear
    return Gate(name=name, bar=bar, measure=measure, reason=reason, at_least=True, forget=forget)


POSTGRES = "PostgreSQL, fsync and synchronous_commit on"
OURS = (
    f"{POSTGRES}: receipt and run before the webhook is answered; results of nodes without an effect outside together, "
    "in one commit that runs share, before the end is told; an effect waits for the commit of all before it"
)
N8N = Side(
    "n8n",
    "webhooks on 32 connections, answered when the last node is done",
    f"{POSTGRES}: the execution when it begins and once, whole, at its end; answered after that",
)

DURABLE_NODES = Row(
    "nodes",
    "durable nodes/s: runs of four nodes, one worker; a node counts when its run has ended and its result is stored",
    (
        Side("ours", "webhooks on 64 connections, until the commit of the last run's end", OURS),
        Side(
            "Restate",
            "calls on 128 connections of a handler with four `ctx.run`, answered at the end",
            "its own log (RocksDB, WAL synced): each step before the next begins; answered once the end is stored",
        ),
        N8N,
        Side(
            "DBOS",
            "workflows of four steps, called from 16 threads of its process, without HTTP",
            f"{POSTGRES}: each step before the next begins; the call returns after the commit of the end",
        ),
    ),
    (
        gate(
            "durable nodes/s, ours / Restate", 3, nodes_over("Restate, nodes in chains", 1),
            "an engine in one binary would do as well",
        ),
        gate(
            "durable nodes/s, ours / n8n", 10, nodes_over("n8n, runs answered", engines.NODES),
            "commits that runs share would not pay",
        ),
        gate(
            "durable nodes/s, ours / DBOS", 12, nodes_over("DBOS, nodes in chains", 1),
            "a library and a database alone would do as well",
        ),
    ),
)  # fmt: skip

WEBHOOK = Row(
    "webhook",
    "webhook + 4 built-in nodes, all stored, answered at the end",
    (
        Side("ours", "webhooks on 32 connections, each until `GET /v1/activity/stream` tells of its run's end", OURS),
        N8N,
    ),
    (
        gate(
            "webhook + 4 nodes to the end, ours / n8n", 6, answers_over_n8n,
            "who waits for an answer waits as long as elsewhere",
        ),
    ),
)  # fmt: skip

QUEUE = Row(
    "queue",
    "queue: tasks that do nothing, sent by one process, done by one worker process, from the first sent to the last "
    "done; one Valkey, its append-only file synced each second",
    (
        Side("ours", "batches of 64, and 50 single ones at a time", "a task is leased until it is done"),
        Side("BullMQ", "`addBulk` of 500, and 50 `add` at a time; worker of 100", "a task is locked until it is done"),
        Side("arq", "50 at a time; its worker looks every 10 ms", "a task is forgotten when it is done"),
        Side("taskiq", "50 at a time; worker of 100", "list: gone when taken; stream: acknowledged when done"),
        Side("celery", "one after the other; pool `solo`", "acknowledged when taken, its default"),
        Side("dramatiq", "one after the other; 8 threads", "acknowledged when done"),
    ),
    (
        gate(
            "queue, ours / BullMQ", 1, tasks_over("BullMQ"),
            "a queue in Python would be what holds runs back", of_queue=True,
        ),
        gate(
            "queue, ours / best of arq, taskiq, celery, dramatiq", 4, tasks_over(*queues.PYTHON_QUEUES),
            "a queue from PyPI would do as well", of_queue=True,
        ),
    ),
)  # fmt: skip

ROWS = (DURABLE_NODES, WEBHOOK, QUEUE)
GATES = tuple(gate for row in ROWS for gate in row.gates)
