"""When a failed node is tried again. Pure: the jitter comes from a hash, so that every owner of a run agrees.

A retry is a record `scheduled` with the number of the next attempt and its time, and a timer. An attempt that a dead
worker left behind has no record: it is made again under its own number, and no retry is spent.
"""

import hashlib
from typing import Any

from b3os.run.records import NodeError, NodeRecord
from b3os.run.times import rfc3339

BASE_MS = 1000
CAP_MS = 300_000


def wants_retry(error: NodeError, attempt: int, max_retries: int) -> bool:
    """Say whether an attempt that failed is followed by another; attempts count from 1."""
    return error.retryable and attempt <= max_retries


def backoff_ms(run_id: str, node_id: str, path: str, attempt: int) -> int:
    """Return the pause after an attempt: doubled each time, capped, and between half of that and all of it."""
    whole = min(CAP_MS, BASE_MS * 2 ** min(attempt - 1, 20))
    told = "\x1f".join((run_id, node_id, path, str(attempt))).encode()
    share = int.from_bytes(hashlib.blake2b(told, digest_size=4).digest(), "big") / 2**32
    return int(whole * (0.5 + share / 2))


def scheduled_result(error: dict[str, Any], due_ms: int) -> dict[str, Any]:
    """Return what a scheduled node shows: why it failed, and when it is tried again."""
    return {**error, "status": "scheduled", "retryAt": rfc3339(due_ms), "retryAtMs": due_ms}


def due_ms(record: NodeRecord) -> int:
    """Return when a scheduled node is tried again."""
    return int(record.result["retryAtMs"])
