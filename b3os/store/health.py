"""Health results: append, newest per target, history of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from b3os.store.pool import Db, json_text
from b3os.store.statements import load

_SQL = load("health")


class HealthResult(msgspec.Struct, frozen=True):
    """One probe of one action or integration; `at` is the database's time and is not written."""

    target: str
    kind: str
    status: str
    latency_ms: float | None = None
    detail: dict[str, Any] = {}
    at: datetime | None = None


async def add_results(db: Db, results: Sequence[HealthResult]) -> None:
    """Store many results at once."""
    rows = [(r.target, r.kind, r.status, r.latency_ms, json_text(r.detail)) for r in results]
    if rows:
        await db.execute(_SQL["add"], *[list(column) for column in zip(*rows, strict=True)])


async def latest_results(db: Db, within_s: float = 86_400.0) -> list[HealthResult]:
    """Return the newest result of each target."""
    return [HealthResult(*row.values()) for row in await db.fetch(_SQL["latest"], float(within_s))]


async def history(db: Db, target: str, limit: int = 100) -> list[HealthResult]:
    """Return a target's results, newest first."""
    return [HealthResult(*row.values()) for row in await db.fetch(_SQL["history"], target, limit)]


async def ping(db: Db) -> None:
    """Answer when the database does."""
    await db.fetchval(_SQL["ping"], timeout=5)


async def lease_is_held(db: Db, name: str) -> bool:
    """Say whether somebody holds a lease now."""
    return bool(await db.fetchval(_SQL["lease_is_held"], name))


async def oldest_unclaimed_s(db: Db) -> float:
    """Return how long the oldest run has waited for a worker, in seconds; 0 when none waits."""
    return float(await db.fetchval(_SQL["oldest_unclaimed_s"]) or 0.0)
