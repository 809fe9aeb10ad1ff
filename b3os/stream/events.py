"""Run events: their names, their shape, their SSE frames."""

from datetime import UTC, datetime
from typing import Any

import msgspec

NAMES = (
    "run_started", "node_started", "node_completed", "node_failed", "node_skipped", "node_waiting",
    "node_scheduled",
    "run_waiting", "run_resumed", "run_completed", "run_failed", "run_cancelled",
    "trigger_finalized", "trigger_removed",
)  # fmt: skip
TERMINAL = frozenset({"run_completed", "run_failed", "run_cancelled"})


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event; `seq` grows within a run and never repeats, `timestamp` is UTC milliseconds.

    One that is told again, since the run changed hands, says so (`is_repeat`): a run's stream has it already.

    A passing event (`sub` over 0) is not stored: it has the number of the stored event before it, is told to live
    readers only, and its frame has no id.
    """

    type: str
    run_id: str
    org_id: str
    workflow_id: str
    seq: int
    sub: int = 0
    timestamp: int
    node_id: str | None = None
    path: str | None = None
    node_type: str | None = None
    status: str | None = None
    result: Any = None
    error: Any = None
    is_repeat: bool = False


def encode_sse(event: RunEvent, *, is_resumable: bool = True) -> bytes:
    """Write one frame; LF only, since clients split on it. The organization stays inside.

    A stream of several runs has no place to resume from, and its frames no id.
    """
    body: dict[str, Any] = {
        "type": event.type,
        "runId": event.run_id,
        "workflowId": event.workflow_id,
        "timestamp": datetime.fromtimestamp(event.timestamp / 1000, UTC).isoformat(timespec="milliseconds"),
    }
    optional = {"nodeId": event.node_id, "path": event.path or None, "nodeType": event.node_type,
                "status": event.status, "result": event.result, "error": event.error}  # fmt: skip
    body.update((key, value) for key, value in optional.items() if value is not None)
    place = b"" if event.sub or not is_resumable else b"id: %d\n" % event.seq
    return place + b"event: %s\ndata: %s\n\n" % (event.type.encode(), msgspec.json.encode(body))
