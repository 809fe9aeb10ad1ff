"""How the installation fares: checks, sources, chains."""

from typing import Any, Literal

from services.api.answers.base import Answer


class Check(Answer, frozen=True, kw_only=True):
    """A health check's last result."""

    id: str
    kind: str
    name: str
    status: Literal["healthy", "degraded", "unhealthy", "waived"]
    is_healthy: bool
    latency_ms: float | None
    last_checked_at: str
    last_error: str | None
    consecutive_failures: int
    waived: str | None


class CheckHistory(Check, frozen=True, kw_only=True):
    """A health check with its earlier results, newest first."""

    history: list[Check]


class SourceItem(Answer, frozen=True, kw_only=True):
    """An event source, as the master that holds it told last."""

    id: str
    holder: str
    lag: str | None
    last_error: str | None
    last_error_at: str | None
    updated_at: str | None


class SourceList(Answer, frozen=True, kw_only=True):
    """The event sources that a master reads or has read: those of all, and the organization's own."""

    items: list[SourceItem]
    total: int


class Coverage(Answer, frozen=True, kw_only=True):
    """Which blocks have been read: once up to `headBlock`, but for `gaps`, and when final again, up to `finalBlock`."""

    announced_block: int
    head_block: int
    final_block: int
    blocks_seen: int
    blocks_missing: int
    blocks_repaired: int
    gaps: list[list[int]]
    ratio: float
    subscribed: bool
    upstreams: list[dict[str, Any]]
    last_error: str | None
    updated_at: str | None


class ChainItem(Answer, frozen=True, kw_only=True):
    """A chain; `coverage` is null while no trigger listens to it."""

    id: int
    name: str
    symbol: str
    confirmations: int
    coverage: Coverage | None


class ChainList(Answer, frozen=True, kw_only=True):
    """All chains of the installation."""

    items: list[ChainItem]
    total: int


class Checks(Answer, frozen=True, kw_only=True):
    """All health checks, and how many have which status."""

    items: list[Check]
    total: int
    counts: dict[str, int]
