"""What a JSON-RPC error means: nodes and providers say the same in dozens of ways. Pure."""

import re
from enum import StrEnum
from typing import Any

import msgspec

from b3os.errors import B3osError, Unavailable


class Cause(StrEnum):
    """What to do about an error."""

    TOO_WIDE = "too_wide"  # ask for fewer blocks
    TOO_MANY = "too_many"  # ask for fewer addresses or topics
    RATE = "rate"  # leave this upstream alone for a while
    QUOTA = "quota"  # leave it alone for long
    MISSING = "missing"  # it does not have the data: ask another
    REVERT = "revert"  # the contract said no
    OTHER = "other"


class RpcError(B3osError):
    """A node's answer that says no. `data` is the revert data, if any; `suggested` how many blocks would do.

    `rest_s` is for how long the upstream wants to be left alone.
    """

    code = 502010

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        rpc_code: int = 0,
        data: str = "",
        suggested: int = 0,
        rest_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.rpc_code = rpc_code
        self.data = data
        self.suggested = suggested
        self.rest_s = rest_s
        self.upstream = ""


class ChainUnreachable(Unavailable):
    """No upstream of a chain gave an answer. Its cause is the RpcError of one that said no, if any did."""

    code = 503010


_MANY = re.compile(r"filters, the current limit|number of address|max addresses|topics per search", re.IGNORECASE)
_WIDE = re.compile(
    r"block range|range (is )?too (large|wide)|too many blocks|limited to .*(range|block)|ranges over|range limit|"
    r"max(imum)? (block )?range|range allowed|at most .* blocks|requested blocks|more than .* results|"
    r"exceeds? (max )?(results|limit of)|response size|response (is )?too (big|large)|exceeds limit of|query timeout|"
    r"bigger than maxblockrange|range .* exceeds",
    re.IGNORECASE,
)
_SUGGESTED = re.compile(r"\[\s*(0x[0-9a-f]+)\s*,\s*(0x[0-9a-f]+)\s*\]", re.IGNORECASE)
_LIMIT = re.compile(
    r"(?:up to a|limited to(?: a)?(?: 0 -)?|limit of|maximum|at most|over|max(?:imum)?(?: is)?(?: set to)?|range:?|to)"
    r"\s+([\d,]{1,9})\b",
    re.IGNORECASE,
)
_RATE = re.compile(r"too many requests|rate.?limit|request limit|capacity exceeded|compute units", re.IGNORECASE)
_QUOTA = re.compile(r"quota|monthly|upgrade your plan|payment required", re.IGNORECASE)
_MISSING = re.compile(
    r"missing trie node|header not found|unknown block|block not found|pruned|no backend|not available|"
    r"beyond current head|resource (not found|unavailable)|could not find block|blockoutofrange",
    re.IGNORECASE,
)


def read_error(error: Any) -> RpcError:
    """Make the error of an answer's `error` member, whatever shape it has."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    message = str(fields.get("message") or "the node gave no reason")[:500]
    code = fields.get("code")
    number = code if isinstance(code, int) else 0
    data = fields.get("data")
    text = data if isinstance(data, str) else ""
    return RpcError(
        message, cause=_cause(number, message, text), rpc_code=number, data=text, suggested=_suggestion(message)
    )


def _cause(code: int, message: str, data: str) -> Cause:
    if code == 3 or "execution reverted" in message.lower() or data.startswith(("0x08c379a0", "0x4e487b71")):
        return Cause.REVERT
    if code == 4444 or _MISSING.search(message):
        return Cause.MISSING
    if _QUOTA.search(message):
        return Cause.QUOTA
    if _MANY.search(message):
        return Cause.TOO_MANY
    if _WIDE.search(message):
        return Cause.TOO_WIDE
    if code in (429, -32005, -32029, -32090, -32097) or _RATE.search(message):
        return Cause.RATE
    return Cause.OTHER


def _suggestion(message: str) -> int:
    """Return how many blocks the text says would be accepted; 0 when it does not."""
    found = _SUGGESTED.search(message)
    if found:
        return max(0, int(found[2], 16) - int(found[1], 16) + 1)
    limits = [int(number.replace(",", "")) for number in _LIMIT.findall(message)]
    return min(limits, default=0)


def revert_reason(data: str) -> str:
    """Return the text of Error(string) or the number of Panic(uint256) in revert data; empty when neither."""
    try:
        body = bytes.fromhex(data[2:])
    except ValueError:
        return ""
    if data.startswith("0x08c379a0") and len(body) >= 68:
        size = int.from_bytes(body[36:68], "big")
        return body[68 : 68 + min(size, 1000)].decode("utf-8", "replace")
    if data.startswith("0x4e487b71") and len(body) >= 36:
        return f"panic 0x{int.from_bytes(body[4:36], 'big'):x}"
    return ""


class RpcAnswer(msgspec.Struct):
    """One element of an answer; `result` stays bytes until it is known that there is no error."""

    id: Any = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
