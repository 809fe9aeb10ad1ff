"""Every setting, declared once with its help. Only this module and `__main__` files read the environment."""

import os
from collections.abc import Mapping
from typing import Annotated

import msgspec

from b3os.errors import BadInput

Count = Annotated[int, msgspec.Meta(ge=0)]
Days = Annotated[int, msgspec.Meta(ge=1)]


class Setting(msgspec.Struct, frozen=True):
    """One setting: the field of `Settings`, its environment variable, what it does."""

    field: str
    env: str
    help: str


SETTINGS: tuple[Setting, ...] = (
    Setting("database_url", "DATABASE_URL", "PostgreSQL 15 to 18 for the engine's role"),
    Setting("redis_ops_url", "REDIS_OPS_URL", "Redis or Valkey for the queue and run streams (noeviction)"),
    Setting("redis_data_url", "REDIS_DATA_URL", "Redis or Valkey for the cache (evictable)"),
    Setting("host", "B3OS_HOST", "address the API listens on"),
    Setting("port", "B3OS_PORT", "port the API listens on"),
    Setting("webhook_host", "B3OS_WEBHOOK_HOST", "address that a master listens on for inbound calls"),
    Setting(
        "webhook_port",
        "B3OS_WEBHOOK_PORT",
        "port that a master listens on for inbound calls, beside the API; 0: none; `b3os up` counts up from it",
    ),
    Setting("actions_url", "B3OS_ACTIONS_URL", "where workers reach the actions process"),
    Setting("actions_port", "B3OS_ACTIONS_PORT", "port the actions process listens on, loopback only"),
    Setting("internal_key", "B3OS_INTERNAL_KEY", "shared secret between workers and the actions process"),
    Setting("master_key", "B3OS_MASTER_KEY", "32 bytes in base64 that wrap every organization's data key"),
    Setting("keystore_dir", "B3OS_KEYSTORE_DIR", "folder of the local encrypted keystore (development only)"),
    Setting("keystore_password", "B3OS_KEYSTORE_PASSWORD", "password of the local keystore"),
    Setting(
        "chains",
        "B3OS_CHAINS",
        'more EVM chains, JSON: [{"id":31337,"name":"local","rpcUrls":["http://127.0.0.1:8545"],"confirmations":0}]',
    ),
    Setting(
        "egress_allow",
        "B3OS_EGRESS_ALLOW",
        "private hosts and ranges that outgoing requests may reach, comma separated (host, host:port or CIDR)",
    ),
    Setting(
        "provider_urls",
        "B3OS_PROVIDER_URLS",
        'other base URLs for providers, JSON: {"slack":"https://slack.example/api"}',
    ),
    Setting(
        "rate_limit", "B3OS_RATE_LIMIT", "calls a second that an API process takes of one organization; 0: no limit"
    ),
    Setting("keep_runs_days", "B3OS_KEEP_RUNS_DAYS", "days after which ended runs and their receipts are removed"),
    Setting("keep_health_days", "B3OS_KEEP_HEALTH_DAYS", "days that results of health checks are kept"),
    Setting("keep_audit_days", "B3OS_KEEP_AUDIT_DAYS", "days that the audit trail of API requests is kept"),
    Setting("queue_limit", "B3OS_QUEUE_LIMIT", "tasks that may wait in one lane of the queue; then it answers busy"),
    Setting(
        "grace_s",
        "B3OS_GRACE_S",
        "seconds that a stopping worker gives to its runs, an actions process to its calls; then others go on",
    ),
    Setting("keep_prices_days", "B3OS_KEEP_PRICES_DAYS", "days that ticks of the price feed are kept"),
    Setting("stork_url", "B3OS_STORK_URL", "WebSocket of the Stork price oracle (EVM-signed prices)"),
    Setting(
        "stork_key", "B3OS_STORK_KEY", "token of the Stork price oracle, as Stork gives it; none: no price triggers"
    ),
    Setting(
        "stork_signers",
        "B3OS_STORK_SIGNERS",
        "accounts whose signed prices are believed, comma separated; empty: those of the public service",
    ),
    Setting(
        "polymarket_channel_url",
        "B3OS_POLYMARKET_CHANNEL_URL",
        "WebSocket of Polymarket's order book (without /ws/market)",
    ),
    Setting("polymarket_live_url", "B3OS_POLYMARKET_LIVE_URL", "WebSocket of Polymarket's live feed of all trades"),
    Setting("pipedream_project", "B3OS_PIPEDREAM_PROJECT", "id of the Pipedream project that has the mailboxes"),
    Setting("pipedream_client_id", "B3OS_PIPEDREAM_CLIENT_ID", "OAuth client of Pipedream; none: no mail triggers"),
    Setting("pipedream_client_secret", "B3OS_PIPEDREAM_CLIENT_SECRET", "secret of the OAuth client of Pipedream"),
    Setting("pipedream_environment", "B3OS_PIPEDREAM_ENVIRONMENT", "development or production, as in Pipedream"),
    Setting(
        "data_dir",
        "B3OS_DATA_DIR",
        "folder of the organizations' SQLite databases; API and workers that serve them share it",
    ),
    Setting("log_level", "B3OS_LOG_LEVEL", "debug, info, warning or error"),
    Setting(
        "metrics_port",
        "B3OS_METRICS_PORT",
        "port of /metrics of master, worker, actions and watchdog; 0: none; `b3os up` counts up from it",
    ),
    Setting("ready_fd", "B3OS_READY_FD", "file descriptor that gets one line when the process is ready; -1: none"),
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one process, typed and checked."""

    database_url: str = ""
    redis_ops_url: str = ""
    redis_data_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    webhook_host: str = "127.0.0.1"
    webhook_port: int = 0
    actions_url: str = "http://127.0.0.1:8081"
    actions_port: int = 8081
    internal_key: str = ""
    master_key: str = ""
    keystore_dir: str = ""
    keystore_password: str = ""
    chains: str = ""
    egress_allow: str = ""
    provider_urls: str = ""
    rate_limit: Count = 0
    keep_runs_days: Days = 30
    keep_health_days: Days = 14
    keep_audit_days: Days = 90
    queue_limit: int = 100_000
    grace_s: float = 2.0
    keep_prices_days: Days = 7
    stork_url: str = "wss://api.jp.stork-oracle.network/evm/subscribe"
    stork_key: str = ""
    stork_signers: str = ""
    polymarket_channel_url: str = "wss://ws-subscriptions-clob.polymarket.com"
    polymarket_live_url: str = "wss://ws-live-data.polymarket.com"
    pipedream_project: str = ""
    pipedream_client_id: str = ""
    pipedream_client_secret: str = ""
    pipedream_environment: str = "production"
    data_dir: str = ".b3os"
    log_level: str = "info"
    metrics_port: int = 0
    ready_fd: int = -1


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings; raises BadInput naming the variable that is wrong."""
    source = os.environ if environ is None else environ
    found = {s.field: source[s.env] for s in SETTINGS if source.get(s.env)}
    try:
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        named = next((s.env for s in SETTINGS if f"$.{s.field}" in str(error)), "a setting")
        raise BadInput(f"{named} is not valid: {error}. See docs/settings.md.", code=400001) from error
