"""What triggers see in blocks of a chain, in the form in which their workflows get it.

Of a log only its place among the others of its transaction is missing, which its identity is made of: that costs a
receipt, and only who starts runs needs it.
"""

from collections.abc import Sequence
from typing import Any, Generic

import msgspec

from b3os.chain.blocks import Block, Header, Receipt
from b3os.chain.rpc import Rpc
from b3os.detect.event_logs import LogEvent
from b3os.detect.matcher import Matcher, RowT
from b3os.reading.blocks import calls_of, transfers_of, whole_blocks
from b3os.reading.logs import Logs
from b3os.reading.receipts import receipts_of
from b3os.reading.tokens import Tokens
from b3os.reading.traces import Traces


class Seen(msgspec.Struct, Generic[RowT], frozen=True):
    """What a trigger asked for, and where it is. `policy` None is the chain's; `mark` names what is no log."""

    row: RowT
    result: dict[str, Any]
    block: Header
    tx: str
    policy: int | str | None
    mark: str = ""
    log: LogEvent | None = None


class Sight(Generic[RowT]):
    """Looks at the blocks of one chain for the triggers of a matcher."""

    def __init__(self, rpc: Rpc, matcher: Matcher[RowT]) -> None:
        self.chain = rpc.chain
        self._matcher = matcher
        self._logs: Logs[RowT] = Logs(matcher, rpc.chain.id)
        self._tokens = Tokens(rpc)
        self._traces = Traces(rpc)
        #: Events of the last look, whether a trigger asked for them or not.
        self.count = 0

    @property
    def is_partial(self) -> bool:
        """Whether the last look at transactions missed traces that some upstream might have given."""
        return self._traces.is_partial

    @property
    def reads_blocks(self) -> bool:
        """Whether blocks are read with their transactions, which are large."""
        return self._matcher.watches_transfers(self.chain.id) or self._matcher.watches_reverts(self.chain.id)

    async def logs(self, rpc: Rpc, blocks: Sequence[Header], *, patient: bool) -> list[Seen[RowT]]:
        """Return the logs in blocks that follow each other, in order; raises RpcError when that is too much."""
        self.count = 0
        if not self._matcher.watches_logs(self.chain.id):
            return []
        matches = await self._logs.read(rpc, blocks, patient=patient)
        self.count = self._logs.count
        headers = {block.height: block for block in blocks}
        found = []
        for match in matches:
            log, header = match.log, headers[int(match.log.block_number, 16)]
            result = {**match.result, "blockTimestamp": header.time_ms // 1000}
            found.append(Seen(match.row, result, header, log.transaction_hash, match.watch.policy, log=log))
        return found

    async def transactions(self, rpc: Rpc, headers: Sequence[Header], *, settles: bool = False) -> list[Seen[RowT]]:
        """Return what transactions in blocks do, in order: coins that they move, and those that revert.

        `settles`: it is the last look, and has time for traces.
        """
        self.count = 0
        if not self.reads_blocks:
            return []
        blocks = await whole_blocks(rpc, headers)
        return [*await self._transfers(rpc, blocks, settles=settles), *await self._reverts(rpc, blocks)]

    async def _transfers(self, rpc: Rpc, blocks: Sequence[Block], *, settles: bool) -> list[Seen[RowT]]:
        if not self._matcher.watches_transfers(self.chain.id):
            return []
        transfers = [transfer for block in blocks for transfer in transfers_of(block)]
        transfers += await self._traces.read(rpc, blocks, settles=settles)
        self.count += len(transfers)
        matches = self._matcher.match_transfers(self.chain.id, transfers)
        outer = [(m.transfer.place["blockHash"], m.transfer.hash) for m in matches if not m.transfer.inner]
        receipts = await receipts_of(rpc, outer, patient=True)
        by_height = {block.height: block for block in blocks}
        found = []
        for match in matches:
            tx, inner = match.transfer.hash, match.transfer.inner
            block = by_height[match.transfer.place["blockNumber"]]
            about = {
                "symbol": self.chain.symbol,
                "blockTimestamp": block.time_ms // 1000,
                "internal": bool(inner),
            }
            if inner or not _has_reverted(receipts[tx]):
                mark = f"{tx}:inner:{inner}" if inner else f"{tx}:value"
                found.append(Seen(match.row, {**match.result, **about}, block, tx, match.policy, mark))
        return found

    async def _reverts(self, rpc: Rpc, blocks: Sequence[Block]) -> list[Seen[RowT]]:
        if not self._matcher.watches_reverts(self.chain.id):
            return []
        calls = [call for block in blocks for call in calls_of(block)]
        self.count += len(calls)
        matches = self._matcher.match_calls(self.chain.id, calls)
        wanted = [(match.call.place["blockHash"], match.call.hash) for match in matches]
        receipts = await receipts_of(rpc, wanted, patient=True)
        by_height = {block.height: block for block in blocks}
        found = []
        for match in matches:
            tx, block = match.call.hash, by_height[match.call.place["blockNumber"]]
            receipt = receipts[tx]
            if receipt is not None and _has_reverted(receipt):
                about = {"gasUsed": str(int(receipt.gas_used, 16)), "blockTimestamp": block.time_ms // 1000}
                found.append(Seen(match.row, {**match.result, **about}, block, tx, match.policy, f"{tx}:reverted"))
        return found

    def turns(self, headers: Sequence[Header]) -> list[Seen[RowT]]:
        """Return whose turn it is at which of some blocks, in order."""
        found = []
        for block in headers:
            place = {"blockNumber": block.height, "blockHash": block.hash, "blockTimestamp": block.time_ms // 1000}
            for row, policy in self._matcher.match_block(self.chain.id, block.height):
                result = {"chainId": self.chain.id, **place}
                found.append(Seen(row, result, block, "", policy, f"block:{block.height}"))
        return found

    async def name_tokens(self, seen: Sequence[Seen[RowT]]) -> None:
        """Add symbol, decimals and the formatted amount to transfers of tokens."""
        moved = [one.result for one in seen if one.log is not None and one.row.type != "evm-log"]
        for result in moved:
            result.update(symbol=None, decimals=None, amountFormatted=None)  # until its token has told
        await self._tokens.name(moved)


def _has_reverted(receipt: Receipt | None) -> bool:
    return receipt is None or receipt.status == "0x0"
