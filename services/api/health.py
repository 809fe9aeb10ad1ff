"""What the watchdog found: every check with its last result, and the history of one."""

from typing import Any

from b3os.errors import NotFound
from b3os.health.verdicts import HEALTHY
from b3os.store import health as store
from services.api.house import House
from services.api.wire import Request, time_text


def _shown(row: store.HealthResult) -> dict[str, Any]:
    return {
        "id": row.target,
        "kind": row.kind,
        "name": row.detail.get("name", row.target),
        "status": row.status,
        "isHealthy": row.status == HEALTHY,
        "latencyMs": None if row.latency_ms is None else round(row.latency_ms, 1),
        "lastCheckedAt": time_text(row.at),
        "lastError": row.detail.get("error") or None,
        "consecutiveFailures": row.detail.get("failures", 0),
        "waived": row.detail.get("waived") or None,
    }


async def checks(house: House, request: Request) -> Any:
    """GET /v1/health/checks"""
    kind, status = request.first("kind"), request.first("status")
    rows = await store.latest_results(house.pool)
    items = [_shown(row) for row in rows if kind in ("", row.kind) and status in ("", row.status)]
    counts: dict[str, int] = {}
    for item in items:
        counts[item["status"]] = counts.get(item["status"], 0) + 1
    return {"items": items, "total": len(items), "counts": counts}


async def check(house: House, request: Request) -> Any:
    """GET /v1/health/checks/{id}"""
    rows = await store.history(house.pool, request.params["id"])
    if not rows:
        raise NotFound(f"no health check {request.params['id']}: see GET /v1/health/checks")
    return {**_shown(rows[0]), "history": [_shown(row) for row in rows]}
