"""What the queue carries of a run: its ids, and the trigger's data if small, so that a worker begins at once."""

from typing import Any

import msgspec

from b3os.errors import BadInput

TYPE = "wf:run"
#: A trigger's data above this stays in the database; the queue's memory is dear.
CARRIED_LIMIT = 8 * 1024
#: Runs that somebody waits for go first.
URGENT_SOURCES = frozenset({"manual", "webhook", "retry"})
URGENT, PLAIN = "critical", "default"


class RunTask(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The payload of a `wf:run` task. All but the ids is there for a run that was just accepted, and nobody had yet.

    `trigger` is None where it is too large, or unknown to who queued the run; `started_ms` is UTC milliseconds.
    """

    org_id: str
    run_id: str
    workflow_id: str = ""
    version: int = 0
    trigger_node: str = ""
    source: str = ""
    started_ms: int = 0
    trigger: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(RunTask)


def payload_of(run: RunTask) -> bytes:
    """Write a task's payload; the trigger's data is left out above 8 kB."""
    data = msgspec.json.encode(run)
    if run.trigger is not None and len(data) > CARRIED_LIMIT:
        return msgspec.json.encode(msgspec.structs.replace(run, trigger=None))
    return data


def read_payload(data: bytes) -> RunTask:
    """Read a task's payload; raises BadInput for one that is not ours."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the payload of a {TYPE} task is not ours: {error}", code=400320) from error


def lane_of(source: str) -> str:
    """Return the lane of a run by what started it."""
    return URGENT if source in URGENT_SOURCES else PLAIN
