"""What the scheduler asks the worker to do."""

from typing import Any

import msgspec

from b3os.run.builtins.state import StateWrite
from b3os.run.deadlines import CALL_MS
from b3os.run.records import NodeRecord
from b3os.workflow.definition import ConnectorRef


class Record(msgspec.Struct, frozen=True):
    """Store a record."""

    record: NodeRecord


class CallAction(msgspec.Struct, frozen=True):
    """Call an action, after everything before it is stored; answer with NodeDone, within `timeout_ms`.

    Every attempt has the same idempotency key: an action that passes it on has its effect once.
    """

    node_id: str
    path: str
    type: str
    input: Any
    connector: ConnectorRef | None
    idempotency_key: str
    attempt: int = 1
    timeout_ms: int = CALL_MS


class WaitTrigger(msgspec.Struct, frozen=True):
    """What a waiting node listens for: a trigger's type and payload."""

    type: str
    payload: dict[str, Any]


class StartTimer(msgspec.Struct, frozen=True):
    """Store a record of a node that is not finished, and a wake-up.

    The store completes a `delay`, a `wait` (as timed out) and a `wait_fail` (as failed); a `retry` it only wakes.
    """

    node_id: str
    path: str
    kind: str
    wake_in_ms: int
    record: NodeRecord
    #: What ends the wait besides its time and a callback.
    trigger: WaitTrigger | None = None


class StartDeadline(msgspec.Struct, frozen=True):
    """Wake the run when its deadline has passed, which is before what it waits for."""

    wake_in_ms: int


class WriteState(msgspec.Struct, frozen=True):
    """Store a record and what its state node keeps in the same transaction."""

    write: StateWrite
    record: NodeRecord


class FinishRun(msgspec.Struct, frozen=True):
    """The run ends: `success`, `failure` or `cancelled`."""

    status: str
    now_ms: int


Command = Record | CallAction | StartTimer | StartDeadline | WriteState | FinishRun
