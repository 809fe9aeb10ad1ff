"""Coins that calls inside transactions move, where an upstream of the chain traces blocks.

Upstreams trace in one of three dialects, which is found out by trying. One that refuses all three does not trace; one
that failed otherwise may, and what it was asked for is missed until it has said. Only calls that were carried out
count: one that failed takes back what was done inside it. What a transaction moves itself is not told here. A failure
is never held against an upstream, since what else it serves may be well.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from b3os.chain.blocks import Block
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, RpcError
from b3os.chain.upstreams import QUOTA_S, Upstream
from b3os.detect.matcher import Transfer
from b3os.errors import B3osError

log = logging.getLogger("b3os.reading")

#: Flat lists first: a trace of deep calls nests deeper than a JSON decoder may go.
DIALECTS = ("trace_block", "flatCallTracer", "callTracer")
#: A new block waits for its trace no longer than this; the second read has more time.
TRACE_S, SETTLE_S = 5.0, 20.0
#: Blocks that are traced at once: a trace is large, and a provider counts them.
WIDTH = 4
#: How long one that cannot trace, or failed to, is not asked again.
AGAIN_S, RETRY_S = 3600.0, 5.0
FAILURES = (RpcError, OSError, TimeoutError, msgspec.DecodeError, ValueError, RecursionError, B3osError)
#: JSON-RPC's codes for a method that is not there, and for arguments that it does not take.
UNKNOWN, INVALID = -32601, -32602
#: In which words nodes and providers say that they do not know a method or a tracer, or do not let one have it.
_REFUSED = re.compile(
    r"(method|tracer|module|namespace|(debug|trace)_\w+)\b.*\b(not|isn't|only|disabled|unavailable|unsupported)\b|"
    r"(unknown|unsupported|invalid|no such) (method|tracer)|is not defined|"
    r"not (supported|allowed|whitelisted|enabled|implemented)",
    re.IGNORECASE | re.DOTALL,
)


class _Foreign(ValueError):
    """A tracer's answer that is no tree of calls: the node knows others than the one that was named."""


class Move(NamedTuple):
    """Coins that one call moved."""

    sender: str
    to: str
    value: int


class _Frame(msgspec.Struct):
    """A call of callTracer, with those that it made."""

    type: str
    from_: str = msgspec.field(name="from", default="")
    to: str | None = None
    value: str | None = None
    error: str | None = None
    calls: list["_Frame"] = []


class _Traced(msgspec.Struct):
    """What debug_traceBlockByHash says of one transaction."""

    result: msgspec.Raw
    txHash: str = ""  # noqa: N815, wire name


class _Action(msgspec.Struct, rename="camel"):
    """What a flat trace did; which fields there are depends on its type."""

    from_: str = msgspec.field(name="from", default="")
    to: str = ""
    value: str = "0x0"
    call_type: str = "call"
    address: str = ""
    refund_address: str = ""
    balance: str = "0x0"


class _Made(msgspec.Struct):
    """The result of a flat trace."""

    address: str = ""


class _Flat(msgspec.Struct, rename="camel"):
    """A call of trace_block or flatCallTracer; `trace_address` is its place in the tree."""

    type: str
    action: _Action
    trace_address: tuple[int, ...] = ()
    result: _Made | None = None
    error: str | None = None
    transaction_hash: str | None = None
    block_hash: str = ""


class Traces:
    """Traces the blocks of one chain. `is_partial`: of some blocks of the last read nobody could say."""

    def __init__(self, rpc: Rpc) -> None:
        self._upstreams = rpc.upstreams
        self._is_wanted = rpc.chain.traces
        self.is_partial = False

    async def read(self, rpc: Rpc, blocks: Sequence[Block], *, settles: bool) -> list[Transfer]:
        """Return the inner transfers of blocks, in order; nothing where no upstream traces."""
        self.is_partial = False
        found: list[Transfer] = []
        left = [block for block in blocks if block.transactions] if self._is_wanted else []
        while left and any(u.tracer != "" or u.traces_at <= rpc.now() for u in self._upstreams.all):
            # Alone while it has to be found out who traces.
            width = 1 if any(upstream.tracer is None for upstream in self._upstreams.all) else WIDTH
            part, left = left[:width], left[width:]
            limit_s = SETTLE_S if settles else TRACE_S
            for traced in await asyncio.gather(*(self._of(rpc, block, limit_s) for block in part)):
                if traced is None:
                    self.is_partial |= any(upstream.tracer != "" for upstream in self._upstreams.all)
                else:
                    found += traced
        return found

    async def _of(self, rpc: Rpc, block: Block, limit_s: float) -> list[Transfer] | None:
        """Ask one upstream after the other; None when none of them could say."""
        for upstream in rpc.order():
            if upstream.traces_at > rpc.now():
                continue
            try:
                async with asyncio.timeout(limit_s):
                    moves = await self._ask(rpc, upstream, block)
            except FAILURES as error:
                is_spent = isinstance(error, RpcError) and error.cause is Cause.QUOTA
                upstream.traces_at = rpc.now() + (QUOTA_S if is_spent else RETRY_S)
                log.warning(
                    "block not traced",
                    extra={
                        "chain": rpc.chain.id,
                        "block": block.height,
                        "upstream": upstream.name,
                        "error": str(error),
                    },
                )
                continue
            if moves is not None:
                return list(_transfers(block, moves))
        return None

    async def _ask(self, rpc: Rpc, upstream: Upstream, block: Block) -> list[tuple[str, Move]] | None:
        """Trace a block as an upstream does; None when it does not. Raises FAILURES when it cannot say."""
        if upstream.tracer:
            return await _traced(rpc, upstream, upstream.tracer, block)
        unclear: Exception | None = None
        has_no_leave = False
        for dialect in DIALECTS:
            try:
                found = await _traced(rpc, upstream, dialect, block)
            except FAILURES as error:
                if isinstance(error, TimeoutError) or (isinstance(error, RpcError) and error.cause is Cause.RATE):
                    raise
                if isinstance(error, RpcError) and error.cause is Cause.QUOTA:
                    has_no_leave = True
                elif not _is_refusal(error):
                    unclear = error
                continue
            upstream.tracer = dialect
            return found
        if unclear is not None:
            raise unclear
        if has_no_leave:  # a plan without traces refuses them alone, one that is used up refuses everything
            await rpc.one(upstream, str, "eth_blockNumber")
        upstream.tracer, upstream.traces_at = "", rpc.now() + AGAIN_S
        return None


def _is_refusal(error: Exception) -> bool:
    """Say whether an upstream does not know the dialect; everything else may be a bad moment."""
    if not isinstance(error, RpcError):
        return isinstance(error, _Foreign)
    is_unlike = error.rpc_code == INVALID and error.cause is Cause.OTHER
    return error.rpc_code == UNKNOWN or is_unlike or _REFUSED.search(error.message) is not None


async def _traced(rpc: Rpc, upstream: Upstream, dialect: str, block: Block) -> list[tuple[str, Move]]:
    """Return what moved inside the transactions of a block, each with its transaction; raises one of FAILURES."""
    if dialect == "trace_block":
        flat = await rpc.one(upstream, list[_Flat], "trace_block", block.number)
        if any(one.block_hash != block.hash for one in flat):
            raise ValueError("the trace is of another block")
        of_each: dict[str, list[_Flat]] = {}
        for one in flat:
            if one.transaction_hash:  # the reward of a block has none
                of_each.setdefault(one.transaction_hash, []).append(one)
        told = [(hash_, _flat_moves(its)) for hash_, its in of_each.items()]
    else:
        told = await _debugged(rpc, upstream, dialect, block)
    hashes = {one.hash for one in block.transactions}
    if not told or any(hash_ not in hashes for hash_, _ in told):
        raise ValueError("the trace is not of the block's transactions")
    return [(hash_, move) for hash_, moves in told for move in moves]


async def _debugged(rpc: Rpc, upstream: Upstream, dialect: str, block: Block) -> list[tuple[str, list[Move]]]:
    options = {"tracer": dialect}
    try:
        traced = await rpc.one(upstream, list[_Traced], "debug_traceBlockByHash", block.hash, options)
    except RecursionError:
        return await _one_by_one(rpc, upstream, block, options)
    if len(traced) != len(block.transactions):
        raise ValueError("the trace has more or fewer transactions than the block")
    pairs = zip(traced, block.transactions, strict=True)
    return [(one.txHash or tx.hash, _moves(dialect, one.result)) for one, tx in pairs]


async def _one_by_one(
    rpc: Rpc, upstream: Upstream, block: Block, options: dict[str, Any]
) -> list[tuple[str, list[Move]]]:
    """Trace transactions alone: one whose calls nest too deep hides no other."""
    found = []
    for tx in block.transactions:
        try:
            raw = await rpc.one(upstream, msgspec.Raw, "debug_traceTransaction", tx.hash, options)
            found.append((tx.hash, _moves(options["tracer"], raw)))
        except RecursionError:
            found.append((tx.hash, []))
            log.warning("transaction too deep to be traced", extra={"chain": rpc.chain.id, "transaction": tx.hash})
    return found


def _moves(dialect: str, result: msgspec.Raw) -> list[Move]:
    try:
        if dialect == "callTracer":
            return list(_nested_moves(msgspec.json.decode(result, type=_Frame), is_top=True))
        return _flat_moves(msgspec.json.decode(result, type=list[_Flat]))
    except msgspec.ValidationError as error:
        raise _Foreign(f"no answer of {dialect}: {error}") from error


def _nested_moves(frame: _Frame, *, is_top: bool = False) -> Iterator[Move]:
    if frame.error:
        return
    kind = frame.type.upper()
    # Of a transaction itself only what it gives to the contract that it makes: it names no receiver.
    if kind.startswith("CREATE") or (kind in ("CALL", "SELFDESTRUCT", "SUICIDE") and not is_top):
        yield from _moved(frame.from_, frame.to, frame.value)
    for call in frame.calls:
        yield from _nested_moves(call)


def _flat_moves(flat: Sequence[_Flat]) -> list[Move]:
    """Return the moves of one transaction."""
    failed = {one.trace_address for one in flat if one.error}
    return [
        move
        for one in flat
        if not failed or not any(one.trace_address[:depth] in failed for depth in range(len(one.trace_address) + 1))
        for move in _flat_move(one)
    ]


def _flat_move(one: _Flat) -> Iterator[Move]:
    action = one.action
    match one.type:
        case "call" if one.trace_address and action.call_type == "call":
            yield from _moved(action.from_, action.to, action.value)
        case "create" if one.result is not None:
            yield from _moved(action.from_, one.result.address, action.value)
        case "suicide" | "selfdestruct":
            yield from _moved(action.address, action.refund_address, action.balance)


def _moved(sender: str, to: str | None, value: str | None) -> Iterator[Move]:
    amount = int(value or "0x0", 16)
    if amount > 0 and to:
        yield Move(sender, to, amount)


def _transfers(block: Block, moves: Sequence[tuple[str, Move]]) -> Iterator[Transfer]:
    """Make transfers of moves. Their identity is what they say, and which of the same in their transaction they are:
    dialects number calls differently."""
    place = {"blockNumber": block.height, "blockHash": block.hash}
    count: Counter[tuple[str, Move]] = Counter()
    for hash_, move in moves:
        inner = f"{move.sender.lower()}:{move.to.lower()}:{move.value}:{count[hash_, move]}"
        count[hash_, move] += 1
        yield Transfer(hash_, move.sender, move.to, move.value, place, inner)
