"""Reading contracts and balances at one block, many at once: through multicall3, or in JSON-RPC batches without it.

A call that fails inside a multicall is asked again alone: another one may have used its gas up, and one that answers
too much, or takes too long, spoils the answers of its batch. What fails alone is the call's own failure and no
other's, as long as the node answers a call that asks nothing.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from b3os.abi.codec import decode, encode
from b3os.abi.signature import parse_signature
from b3os.abi.types import parse_type
from b3os.chain.blocks import Header
from b3os.chain.rpc import BATCH, Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError, revert_reason
from b3os.detect.thresholds import ANSWER, Call, StateWatch, parse_state_watch, read_outputs, state_result
from b3os.errors import BadInput
from b3os.reading.blocks import Inconsistent
from b3os.reading.tokens import Tokens

AGGREGATE = parse_signature("aggregate3((address target, bool allowFailure, bytes data)[])")
COINS = parse_signature("getEthBalance(address)").selector
_CALLS = [AGGREGATE.inputs[0].type]
_ANSWERS = [parse_type("(bool,bytes)[]")]
#: Calls of one multicall: 100 balances of tokens cost 1 to 3 million gas, nodes allow a call 50 million.
WIDTH = 100
#: Who has no code: a call answers at once, and says whether the node reads the state of a block at all.
NOBODY = "0x" + "00" * 20
#: What a node says of a block that it wants by its number.
INVALID = (-32602, -32600)

#: The bytes that a call returned, or why it did not.
Answer = bytes | str
_Ask = tuple[str, Sequence[Any]]


class States:
    """Reads the state of one chain."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        #: Whether the chain has multicall3 where its settings say; None: not looked yet.
        self._has_multicall: bool | None = None
        self._names_hashes = True

    async def read(self, block: Header, calls: Iterable[Call], *, alone: Iterable[Call] = ()) -> dict[Call, Answer]:
        """Return the answer of every call at a block, each asked once; `alone` are kept apart from the others.

        Raises ChainUnreachable and RpcError when none can be had, Inconsistent when the block is gone.
        """
        together = list(dict.fromkeys(calls))
        apart = [call for call in dict.fromkeys(alone) if call not in together]
        found = await self._at(block, together, apart)
        if found is None:
            self._names_hashes = False
            found = await self._at(block, together, apart)
            assert found is not None, "only a hash is refused so"
        if not self._names_hashes:
            (header,) = await self._rpc.headers([block.height])
            if header is None or header.hash != block.hash:
                raise Inconsistent(f"chain {self._rpc.chain.id}: block {block.height} changed while it was read")
        return found

    async def _at(self, block: Header, together: list[Call], apart: list[Call]) -> dict[Call, Answer] | None:
        """Read everything; None when the node does not take a block's hash."""
        where: Any = {"blockHash": block.hash} if self._names_hashes else block.number
        found: dict[Call, Answer] = {}
        try:
            if together and await self._multicalls():
                found = await self._through_multicall(where, together)
            left = [call for call in (*together, *apart) if call not in found]
            asks = [_direct(call, where) for call in left]
            for call, answer in zip(left, await self._ask(asks, where), strict=True):
                found[call] = _bytes_of(answer, is_coin=not call[1])
        except RpcError as error:
            if self._names_hashes and error.rpc_code in INVALID:
                return None
            raise
        return found

    async def _multicalls(self) -> bool:
        if self._has_multicall is None:
            contract = self._rpc.chain.multicall
            code = await self._rpc.typed(str, "eth_getCode", contract, "latest") if contract else "0x"
            self._has_multicall = len(code) > 2
        return self._has_multicall

    async def _through_multicall(self, where: Any, calls: list[Call]) -> dict[Call, Answer]:
        """Return what multicalls answered; what is missing failed there, and is asked alone."""
        contract = self._rpc.chain.multicall
        parts = [tuple(calls[at : at + WIDTH]) for at in range(0, len(calls), WIDTH)]
        asks = [("eth_call", ({"to": contract, "data": _packed(contract, part)}, where)) for part in parts]
        found: dict[Call, Answer] = {}
        for part, answer in zip(parts, await self._ask(asks, where), strict=True):
            await asyncio.sleep(0)  # a millisecond for each
            body = _bytes_of(answer)
            found.update(_unpacked(part, body) if isinstance(body, bytes) else ())
        return found

    async def _ask(self, asks: Sequence[_Ask], where: Any) -> list[str | RpcError]:
        """Ask in batches; a batch that fails is halved until what fails in it is alone."""
        if len(asks) > BATCH:
            parts = [asks[at : at + BATCH] for at in range(0, len(asks), BATCH)]
            return [one for part in parts for one in await self._ask(part, where)]
        try:
            return list(await self._rpc.batch(str, asks))
        except ChainUnreachable as error:
            if isinstance(error.__cause__, RpcError):
                raise  # an upstream wants to be left alone: more requests would get no more out of it
            await self._rpc.call("eth_call", {"to": NOBODY, "data": "0x"}, where)  # raises when it is not for the batch
            if len(asks) == 1:
                return [RpcError("no node answers it: it takes too long, or returns too much", cause=Cause.OTHER)]
        except RpcError as error:
            is_asked_wrongly = self._names_hashes and error.rpc_code in INVALID
            if error.cause in (Cause.MISSING, Cause.RATE, Cause.QUOTA) or is_asked_wrongly:
                raise
            if len(asks) == 1:
                return [error]
        middle = len(asks) // 2
        return [*await self._ask(asks[:middle], where), *await self._ask(asks[middle:], where)]


async def present(rpc: Rpc, kind: str, payload: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return what a trigger reads at the newest block, and when that was; raises BadInput when that is no answer."""
    watch, view = parse_state_watch(kind, payload), rpc.after(None)
    header = await view.tagged("latest")
    if header is None:
        raise Inconsistent(f"chain {rpc.chain.id} shows no block now")
    answer = (await States(view).read(header, (), alone=[watch.call]))[watch.call]
    if isinstance(answer, str):
        raise BadInput(answer, code=ANSWER)
    result = read_result(watch, read_outputs(watch, answer), header, symbol=rpc.chain.symbol)
    await Tokens(view).name([result] if result.get("tokenAddress") else [])
    return result, header.time_ms


def read_result(watch: StateWatch, outputs: dict[str, Any], header: Header, *, symbol: str) -> dict[str, Any]:
    """Make the result of a reading; tokens are still to be named."""
    about = {"blockNumber": header.height, "blockHash": header.hash, "blockTimestamp": header.time_ms // 1000}
    result = state_result(watch, outputs, about)
    if "amount" in result and not result["tokenAddress"]:
        result |= {"symbol": symbol, "decimals": 18}
    return result


def _direct(call: Call, where: Any) -> _Ask:
    target, data = "0x" + call[0].hex(), call[1]
    return (
        ("eth_call", ({"to": target, "data": "0x" + data.hex()}, where))
        if data
        else ("eth_getBalance", (target, where))
    )


#: The same is asked at every head: writing it was more than half of the work. 25 kB each.
@lru_cache(maxsize=128)
def _packed(contract: str, calls: tuple[Call, ...]) -> str:
    """Write the call of a multicall; the coins of an account are asked of the multicall contract itself."""
    own = bytes.fromhex(contract[2:])
    inner = [(target, True, data) if data else (own, True, COINS + target.rjust(32, b"\0")) for target, data in calls]
    return "0x" + (AGGREGATE.selector + encode(_CALLS, [inner])).hex()


def _unpacked(calls: Sequence[Call], body: bytes) -> Iterator[tuple[Call, Answer]]:
    """Return the calls that succeeded in a multicall; of an answer that is none, nothing."""
    try:
        (answers,) = decode(_ANSWERS, body)
    except BadInput:
        return
    if len(answers) == len(calls):
        yield from (
            (call, bytes.fromhex(data[2:])) for call, (is_done, data) in zip(calls, answers, strict=True) if is_done
        )


def _bytes_of(answer: str | RpcError, *, is_coin: bool = False) -> Answer:
    if isinstance(answer, RpcError):
        reason = revert_reason(answer.data)
        return f"the call failed: {answer.message}{f' ({reason})' if reason and reason not in answer.message else ''}"
    try:
        return int(answer, 16).to_bytes(32, "big") if is_coin else bytes.fromhex(answer.removeprefix("0x"))
    except (ValueError, OverflowError):
        return f"the node answered {answer[:40]!r}, which is no value"
