"""What happened to a run, as the scheduler is told."""

from typing import Any

import msgspec

from b3os.run.records import NodeError, NodeRecord


class Recorded(msgspec.Struct, frozen=True):
    """A stored record of an earlier owner; given before Resume, in seq order."""

    record: NodeRecord


class Start(msgspec.Struct, frozen=True):
    """Begin the run."""

    now_ms: int


class Resume(msgspec.Struct, frozen=True):
    """Go on after the stored records were given."""

    now_ms: int


class NodeDone(msgspec.Struct, frozen=True):
    """An action answered: `result`, or `error` when it failed."""

    node_id: str
    path: str
    now_ms: int
    result: Any = None
    error: NodeError | None = None


class Answered(msgspec.Struct, frozen=True):
    """The store completed a waiting node while the run was in hand; the record has its number there."""

    record: NodeRecord
    now_ms: int


class Tick(msgspec.Struct, frozen=True):
    """Time has passed: a back-off, or the run's deadline, may be over."""

    now_ms: int


class Cancel(msgspec.Struct, frozen=True):
    """Stop the run."""

    now_ms: int


RunInput = Recorded | Start | Resume | NodeDone | Answered | Tick | Cancel
