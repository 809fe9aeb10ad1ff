"""Every Prometheus metric of B3OS, declared once with its unit and meaning; other modules move them."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest, start_http_server

#: Seconds; fine where our budgets are (0.5 ms to 10 ms), coarse above.
LATENCY_BUCKETS_S = (
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)

HTTP_REQUESTS = Counter("b3os_http_requests", "Requests answered by the API", ["route", "method", "status"])
HTTP_SECONDS = Histogram(
    "b3os_http_request_seconds", "Time to answer an API request", ["route"], buckets=LATENCY_BUCKETS_S
)
SSE_STREAMS = Gauge("b3os_sse_streams", "Open event streams")
SSE_EVENTS = Counter("b3os_sse_events", "Run events sent to clients")

TRIGGERS = Gauge("b3os_triggers", "Active triggers held by a master", ["type"])
TRIGGER_CHANGES = Counter("b3os_trigger_changes", "Changes of triggers taken from the feed")
QUARANTINED = Gauge("b3os_triggers_quarantined", "Stored triggers that cannot be read, now")
QUARANTINED_TOTAL = Counter("b3os_trigger_quarantines", "Stored triggers found unreadable, by reason", ["reason"])
INDEX_DIFFERENCES = Counter(
    "b3os_index_differences", "Triggers that differed from the database in a cross-check, by kind", ["kind"]
)
FEED_LAG = Gauge("b3os_feed_lag_seconds", "Time since the change feed was last read")
EVENTS = Counter("b3os_events", "Outside events seen by the master", ["source"])
MATCHES = Counter("b3os_matches", "Events that satisfied a trigger", ["source"])
SOURCE_REQUESTS = Counter(
    "b3os_source_requests", "Calls of the services that sources poll, by what became of them", ["source", "outcome"]
)
SOURCE_LEFT_OUT = Counter(
    "b3os_source_left_out", "Events that a source gave up, since its service never gave them", ["source"]
)
ADMISSIONS = Counter("b3os_admissions", "Matches by what admission decided", ["status"])
WEBHOOKS = Counter("b3os_webhooks", "Inbound calls by what became of them", ["status"])
TICK_SECONDS = Histogram("b3os_tick_seconds", "Time of one master tick", buckets=LATENCY_BUCKETS_S)
TICK_PART_SECONDS = Histogram(
    "b3os_tick_part_seconds", "Time of one master tick by part", ["part"], buckets=LATENCY_BUCKETS_S
)
TICKS_LATE = Counter(
    "b3os_ticks_late", "Master ticks that did not end inside their interval, by what took long", ["why"]
)
CHAIN_FINAL = Gauge("b3os_chain_final_block", "Last block read a second time, when it was final", ["chain"])
CHAIN_FORKS = Counter("b3os_chain_forks", "Forks that a chain's source went back from", ["chain"])
CHAIN_SETTLED = Counter(
    "b3os_chain_settled",
    "Runs of chain events whose event became final, was removed by a fork, or was found late at the second read",
    ["chain", "fate"],
)
CHAIN_HEAD = Gauge("b3os_chain_head_block", "Last block processed", ["chain"])
POLYMARKET_REFUSED = Counter(
    "b3os_polymarket_refused",
    "Rows and messages of Polymarket that made no sense, and gaps in what it lists",
    ["reason"],
)
PRICES_REFUSED = Counter("b3os_prices_refused", "Prices of the oracle that were not believed", ["reason"])

TASKS = Counter("b3os_tasks", "Queue tasks by lane and what became of them", ["lane", "outcome"])
RUNS_ACTIVE = Gauge("b3os_runs_active", "Runs held by this worker")
RUNS = Counter("b3os_runs", "Runs finished by this worker", ["status"])
NODES = Counter("b3os_nodes", "Node results recorded", ["status"])
COMMITS = Counter("b3os_commits", "Group commits")
COMMIT_ROWS = Histogram(
    "b3os_commit_rows", "Node results in one group commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)

DELIVERIES = Counter("b3os_deliveries", "Attempts to deliver a webhook by what became of it", ["status"])

ACTIONS = Counter("b3os_actions", "Actions executed, by type and error code (empty: success)", ["type", "code"])
ACTION_REPEATS = Counter("b3os_action_repeats", "Calls of actions made again because nobody answered")
ACTION_SECONDS = Histogram("b3os_action_seconds", "Time of one action", ["provider"], buckets=LATENCY_BUCKETS_S)
UPKEEP = Counter("b3os_upkeep", "Partitions made and dropped, rows removed by upkeep", ["what"])
HEALTH = Gauge("b3os_health", "Last verdict of a probe: 1 healthy, 0 not", ["probe"])


def exposition() -> tuple[bytes, str]:
    """Return the body and content type of a /metrics answer."""
    return generate_latest(), CONTENT_TYPE_LATEST


def expose(host: str, port: int) -> None:
    """Serve /metrics on a port of its own, for a process that has no API; port 0 serves nothing."""
    if port:
        start_http_server(port, host)
