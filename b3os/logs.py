"""JSON logging: one object a line on stderr, encoded by msgspec.

Messages are constant; what varies goes into fields: `log.info("task duplicate", extra={"task_id": task.id})`.
What a line is about (org, workflow, run, node) is bound once and is in every line of the task and its children.
"""

import logging
import sys
from contextvars import ContextVar
from typing import Any

import msgspec

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

#: Attributes that every LogRecord has; what a record has beyond them came in through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


_bound: ContextVar[dict[str, str]] = ContextVar("bound", default={})  # noqa: B039 - never changed in place


def bind(**fields: str) -> None:
    """Add fields to every line that this asyncio task logs from now on, and the tasks that it starts."""
    _bound.set({**_bound.get(), **fields})


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON with the time in milliseconds since 1970."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": int(record.created * 1000),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_bound.get(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line).decode("utf-8", "replace")


def setup(level: str, process: str) -> None:
    """Send every logger of this process to stderr as JSON; unknown levels count as info."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS.get(level.lower(), logging.INFO))
    for noisy in ("_granian", "asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
