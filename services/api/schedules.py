"""When a workflow runs next: the slots of its cron triggers."""

import asyncio
import time
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from b3os.detect.schedules import next_slots, slot_text
from b3os.detect.zones import zone_of
from b3os.errors import NotFound
from b3os.store import workflows as store
from b3os.store.pool import as_org
from b3os.workflow.definition import normalise
from services.api.house import House
from services.api.wire import Request, time_text

SHOWN = 5


async def get(house: House, request: Request) -> Any:
    """GET /v1/workflows/{id}/schedule"""
    workflow_id = request.params["id"]
    async with as_org(house.pool, request.org_id) as db:
        row = await store.get_workflow(db, request.org_id, workflow_id)
        if row.live_version not in (None, row.version):
            row = await store.get_workflow(db, request.org_id, workflow_id, row.live_version)
    definition = normalise(row.definition)
    nodes = [definition.nodes[node_id] for node_id in definition.trigger_node_ids if node_id in definition.nodes]
    payloads = [node.payload for node in nodes if node.type == "cronjob"]
    if not payloads:
        raise NotFound(f"workflow {workflow_id} has no schedule: give it a cronjob trigger")
    asked = request.query.get("timezone", [str(payloads[0].get("timezone") or "UTC")])[0]
    zone_of(asked)  # says what is wrong with the name
    now_s = int(time.time())
    slots = [await asyncio.to_thread(next_slots, payload, now_s, SHOWN) for payload in payloads]
    coming = list(islice(merge(*slots), SHOWN))
    is_listening = row.status == "active" and bool(coming)
    return {
        "nextRunAt": slot_text(coming[0]) if is_listening else None,
        "lastRunAt": time_text(row.last_triggered_at),
        "nextRuns": [datetime.fromtimestamp(slot, ZoneInfo(asked)).isoformat() for slot in coming],
        "timezone": asked,
        "serverTime": slot_text(now_s),
    }
