"""How large what a node leaves behind may be. Pure.

A result or input over 1 MB is cut before anything reads it: a node after it, the store and the stream see the same.
What cannot be encoded is an error of its node, not of the run.
"""

from typing import Any

import msgspec

from b3os.errors import BadInput

RESULT_LIMIT = 1 << 20
#: Bytes of a cut value that are kept to be looked at.
PREVIEW_BYTES = 2048
ERROR_LIMIT = 8 << 10
#: Bytes of one value in a storage or a variable.
VALUE_LIMIT = 256 << 10
_encode = msgspec.json.Encoder().encode


def encoded(value: Any, what: str) -> bytes:
    """Encode a value as JSON; raises BadInput that says why it cannot be."""
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"{what} cannot be encoded as JSON: {str(error)[:200]}", code=400363) from error


def bounded(value: Any, what: str = "the result") -> Any:
    """Return the value, or the mark of one that is too large; raises BadInput for what cannot be encoded."""
    data = encoded(value, what)
    if len(data) <= RESULT_LIMIT:
        return value
    return {"truncated": True, "bytes": len(data), "preview": data[:PREVIEW_BYTES].decode(errors="ignore")}


def cut_text(text: str, limit: int = ERROR_LIMIT) -> str:
    """Cut an error's text to so many bytes."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"
