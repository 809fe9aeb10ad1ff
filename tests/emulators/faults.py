"""The ways in which an upstream fails or lies, by name; a plan file or a test switches them on."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class Said(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Silence(Exception):
    """The whole request gets no answer."""


class Reply(msgspec.Struct, frozen=True):
    """One HTTP answer; status 0 is none at all."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


class Fault(msgspec.Struct):
    """A way to fail: of which method (empty: any), for which blocks, how many times more (None: until removed)."""

    kind: str
    method: str = ""
    times: int | None = None
    first: int = 0
    last: int = 2**63

    def take(self) -> bool:
        """Use one time up; False when none is left."""
        if self.times is not None:
            if self.times <= 0:
                return False
            self.times -= 1
        return True


#: What is wrong with the HTTP answer.
REPLIES: dict[str, Callable[[list[dict[str, Any]]], Reply]] = {
    "silence": lambda _: Reply(b"", 0),
    "http429": lambda _: Reply(b"Too Many Requests", 429, {"Retry-After": "7"}),
    "http402": lambda _: Reply(b"monthly capacity limit exceeded", 402),
    "gzip": lambda _: Reply(b"no gzip at all", 200, {"Content-Encoding": "gzip"}),
    "http502": lambda _: Reply(b"<html><h1>502 Bad Gateway</h1></html>", 502),
    "malformed": lambda calls: Reply(b'{"jsonrpc":"2.0","id":%d,"result":[{"addr' % calls[0]["id"]),
    "wrong_id": lambda calls: Reply(
        msgspec.json.encode({"jsonrpc": "2.0", "id": calls[0]["id"] + 1000, "result": "0x1"})
    ),
    "one_object": lambda calls: Reply(_said(None, -32600, "batch too large")) if len(calls) > 1 else Reply(b"", 0),
    "rate": lambda calls: Reply(_said(calls[0]["id"], -32005, "Too Many Requests: rate limit exceeded")),
    "quota": lambda calls: Reply(_said(calls[0]["id"], -32005, "monthly quota exceeded, upgrade your plan")),
    "internal": lambda calls: Reply(_said(calls[0]["id"], -32603, "Internal error")),
}


def _said(id_: Any, code: int, message: str) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}})


def reply_fault(fault: Fault, calls: list[dict[str, Any]]) -> Reply | None:
    """Return the broken HTTP answer of a fault, or None when it is not of that sort."""
    made = REPLIES.get(fault.kind)
    return made(calls) if made is not None and fault.take() else None


def result_fault(fault: Fault, method: str, params: list[Any], result: Any) -> Any:
    """Return what a fault makes of a result; raises Said."""
    change = RESULTS.get(fault.kind)
    if change is None or not _concerns(fault, method, params, result) or not fault.take():
        return result
    return change(result)


def _concerns(fault: Fault, method: str, params: list[Any], result: Any) -> bool:
    """Say whether a result is about the blocks of a fault, and of a kind that it can change."""
    if method == "eth_getLogs":
        numbers = [int(log["blockNumber"], 16) for log in result or ()]
        return bool(numbers) and any(fault.first <= number <= fault.last for number in numbers)
    if fault.kind in LOG_LIES:
        return False
    if method == "eth_getBlockByNumber" and params[0].startswith("0x"):
        return fault.first <= int(params[0], 16) <= fault.last
    return method != "eth_chainId"


def _partly(_: Any) -> Any:
    raise Said(-32005, "rate limit exceeded")


def _pruned(_: Any) -> Any:
    raise Said(-32000, "missing trie node 1f2e (path )")


LOG_LIES: dict[str, Callable[[Any], Any]] = {
    "empty": lambda _: [],
    "truncated": lambda logs: logs[: len(logs) // 2],
    "repeated": lambda logs: logs + logs,
    "shuffled": lambda logs: logs[::-1],
    "removed": lambda logs: [{**log, "removed": True} for log in logs],
    "ghost": lambda logs: [*logs, {**logs[0], "data": "0x" + "f" * 64, "logIndex": "0x63", "removed": True}],
    "outside": lambda logs: [*logs, {**logs[0], "blockNumber": hex(int(logs[0]["blockNumber"], 16) + 100_000)}],
    "other_fork": lambda logs: [{**log, "blockHash": "0x" + "f0" * 32} for log in logs],
}
RESULTS: dict[str, Callable[[Any], Any]] = {
    **LOG_LIES,
    "null": lambda _: None,
    "other_receipts": lambda receipts: [{**one, "blockHash": "0x" + "f0" * 32} for one in receipts],
    "hundreds": lambda _: f"0x{200:064x}",
    "empty_trace": lambda _: [],
    "steps": lambda traces: [{**one, "result": {"gas": 21000, "structLogs": []}} for one in traces],
    "other_block": lambda traces: [{**one, "blockHash": "0x" + "f0" * 32} for one in traces],
    "one_limited": _partly,
    "missing": _pruned,
    "zero": lambda _: "0x0",
}
