"""What the scheduler asks the worker to do."""

from typing import Any

import msgspec

from b3os.run.records import NodeRecord
from b3os.workflow.definition import ConnectorRef


class Record(msgspec.Struct, frozen=True):
    """Store a record."""

    record: NodeRecord


class CallAction(msgspec.Struct, frozen=True):
    """Call an action, after everything before it is stored; answer with NodeDone."""

    node_id: str
    path: str
    type: str
    input: Any
    connector: ConnectorRef | None
    idempotency_key: str


class StartTimer(msgspec.Struct, frozen=True):
    """Store a waiting record and a wake-up; kind `delay` or `wait`."""

    node_id: str
    path: str
    kind: str
    wake_in_ms: int
    record: NodeRecord


class WriteStorage(msgspec.Struct, frozen=True):
    """Store a record and a value of the workflow's storage in the same transaction."""

    key: str
    value: Any
    record: NodeRecord


class FinishRun(msgspec.Struct, frozen=True):
    """The run ends: `success`, `failure` or `cancelled`."""

    status: str
    now_ms: int


Command = Record | CallAction | StartTimer | WriteStorage | FinishRun
