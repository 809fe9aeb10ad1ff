"""From stored records to run events: names, sequence numbers, wire shape.

`run_started` is 1; a record's event is its `seq + 1`; the terminal event comes after the last record. A reader that
resumes from the stored records sees the same numbers as one that followed the stream. What passes without an event of
its own (an action's `node_started`, `node_scheduled`, `run_waiting`, `run_resumed`) is told between them: the record of
a scheduled retry gives way to the next one, so nobody could be told of it later.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from b3os.stream.events import RunEvent

NODE_EVENTS = {
    "success": "node_completed",
    "failure": "node_failed",
    "skipped": "node_skipped",
    "waiting": "node_waiting",
    "running": "node_started",
}
RUN_EVENTS = {"success": "run_completed", "failure": "run_failed", "cancelled": "run_cancelled"}
#: Larger than any record's number: a run has at most 10,000 nodes, each with two records.
TERMINAL_SEQ = 1_000_000


class RunLike(Protocol):
    """What an event needs of its run."""

    @property
    def id(self) -> str: ...
    @property
    def org_id(self) -> str: ...
    @property
    def workflow_id(self) -> str: ...


class RecordLike(Protocol):
    """What an event needs of a stored record."""

    @property
    def seq(self) -> int: ...
    @property
    def node_id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def result(self) -> Any: ...
    @property
    def started_ms(self) -> int: ...
    @property
    def finished_ms(self) -> int | None: ...


def run_started(row: RunLike, now_ms: int) -> RunEvent:
    """Make the first event of a run."""
    return RunEvent(
        type="run_started",
        run_id=row.id,
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        seq=1,
        timestamp=now_ms,
        status="running",
    )


def node_event(row: RunLike, record: RecordLike) -> RunEvent:
    """Make the event that tells of a record."""
    failed = record.status == "failure"
    return RunEvent(
        type=NODE_EVENTS[record.status],
        run_id=row.id,
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        seq=record.seq + 1,
        timestamp=record.finished_ms or record.started_ms,
        node_id=record.node_id,
        path=record.path,
        node_type=record.type,
        status=record.status,
        result=None if failed else record.result,
        error=(record.result or {}).get("error") if failed else None,
    )


def node_events(row: RunLike, records: Iterable[RecordLike]) -> list[RunEvent]:
    """Make the stored events of records, in order."""
    return [node_event(row, record) for record in records if record.status in NODE_EVENTS]


def run_finished(row: RunLike, status: str, now_ms: int) -> RunEvent:
    """Make the last event of a run."""
    return RunEvent(
        type=RUN_EVENTS[status],
        run_id=row.id,
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        seq=TERMINAL_SEQ,
        timestamp=now_ms,
        status=status,
    )


def passing(row: RunLike, name: str, *, after: int, sub: int, now_ms: int) -> RunEvent:
    """Make an event that is not stored, told after the stored one with number `after`."""
    return RunEvent(
        type=name,
        run_id=row.id,
        org_id=row.org_id,
        workflow_id=row.workflow_id,
        seq=after,
        sub=sub,
        timestamp=now_ms,
        status="waiting" if name == "run_waiting" else "running",
    )
