"""Trigger rows as PostgreSQL's record_send writes them, for tests that need no database."""

import json
import struct
from typing import Any

from b3os.detect.patterns import compile_pattern

#: text, text, text, text, int4, timestamptz, bool, bytea, jsonb, text
OIDS = (25, 25, 25, 25, 23, 1184, 16, 17, 3802, 25)


def packed_record(columns: list[bytes | None]) -> bytes:
    found = struct.pack(">i", len(columns))
    for oid, column in zip(OIDS, columns, strict=True):
        found += struct.pack(">Ii", oid, -1 if column is None else len(column)) + (column or b"")
    return found


def record(
    workflow: str,
    kind: str = "manual",
    payload: Any = None,
    *,
    org: str = "org_a",
    node: str = "root",
    version: int = 1,
    since_ms: int = 0,
    active: bool = True,
    pattern: bytes = b"",
    wait: tuple[str, str, str] | None = None,
) -> bytes:
    """One row; without a pattern it has its payload."""
    since = (since_ms - 946_684_800_000) * 1000
    return packed_record(
        [
            *(text.encode() for text in (org, workflow, node, kind)),
            struct.pack(">i", version),
            struct.pack(">q", since),
            bytes([active]),
            pattern,
            None if pattern else b"\x01" + json.dumps({} if payload is None else payload).encode(),
            None if wait is None else json.dumps(wait).encode(),
        ]
    )


def compiled(workflow: str, kind: str, payload: dict[str, Any], **more: Any) -> bytes:
    """One row with its compiled pattern, or the payload of one that has none."""
    return record(workflow, kind, payload, pattern=compile_pattern(kind, payload), **more)
