"""Reading blocks of a chain: headers that join, and the events that triggers see in them.

An event's identity is (chain, transaction, order of the log in it, what it says): it survives a re-inclusion elsewhere,
and a log that comes back with other arguments is another event. Header, log and receipt must name the same block, or
the blocks are read again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from b3os import metrics
from b3os.chain.blocks import Block, Header, Receipt
from b3os.chain.rpc import Rpc
from b3os.detect.matcher import LogMatch, Matcher, NativeMatch, Transfer
from b3os.run.times import rfc3339
from b3os.store.triggers import TriggerRow
from services.master.admit import Event
from services.master.chain.logs import Inconsistent, Logs
from services.master.chain.place import Policy
from services.master.sources.tokens import Tokens

#: Block times are whole seconds: a block may say that it is older than the trigger it fires by this much.
CLOCK_MS = 1000
#: Reads that may find no receipt of a log before its place is taken from the block's logs: some chains' logs belong to
#: a block alone.
PATIENCE = 5


class Forked(Exception):
    """The next block does not have our newest one as its parent."""


class Found(msgspec.Struct, frozen=True):
    """An event, where it is, and how sure its trigger wants to be."""

    event: Event
    block: int
    block_hash: str
    tx: str
    policy: Policy


class _Log(msgspec.Struct):
    transactionHash: str  # noqa: N815, wire names
    logIndex: str  # noqa: N815


class Reader:
    """Reads one chain for the triggers that listen to it."""

    def __init__(self, rpc: Rpc, matcher: Matcher[TriggerRow]) -> None:
        self.chain = rpc.chain
        self._matcher = matcher
        self._logs = Logs(matcher, rpc.chain.id)
        self._tokens = Tokens(rpc)
        self._source = f"chain:{rpc.chain.id}"

    async def joined(self, rpc: Rpc, first: int, until: int, parent: str) -> list[Header]:
        """Return the headers from `first` on that follow each other after `parent`, as many as are served.

        Raises Forked. A height that the chain left out is passed by: what follows names its parent all the same.
        """
        found: list[Header] = []
        for header in await rpc.headers(range(first, until + 1)):
            if header is None:
                continue
            if header.parent_hash != (found[-1].hash if found else parent):
                if not found:
                    raise Forked
                return found  # the answers are of two views: what joins is good
            found.append(header)
        return found

    async def read(self, rpc: Rpc, blocks: Sequence[Header], *, patient: bool, now_ms: int) -> list[Found]:
        """Return the events in blocks, in order; raises RpcError when that is too much for one read."""
        found: list[Found] = []
        if self._matcher.watches_logs(self.chain.id):
            found += await self._log_events(rpc, blocks, patient=patient)
        if self._matcher.watches_transfers(self.chain.id):
            found += await self._transfers(rpc, blocks)
        stamp = rfc3339(now_ms)
        fresh = [one for one in found if one.event.time_ms >= one.event.row.active_since_ms - CLOCK_MS]
        for one in fresh:
            one.event.result["triggeredAt"] = stamp
        metrics.MATCHES.labels(self._source).inc(len(fresh))
        return fresh

    @property
    def reads_blocks(self) -> bool:
        """Whether blocks are read with their transactions, which are large."""
        return self._matcher.watches_transfers(self.chain.id)

    async def _log_events(self, rpc: Rpc, blocks: Sequence[Header], *, patient: bool) -> list[Found]:
        matches = await self._logs.read(rpc, blocks, patient=patient)
        metrics.EVENTS.labels(self._source).inc(self._logs.count)
        if not matches:
            return []
        receipts = await self._receipts(rpc, [match.log.transaction_hash for match in matches], patient=patient)
        await self._tokens.name([match.result for match in matches if match.watch.type != "evm-log"])
        headers = {block.height: block for block in blocks}
        found = []
        for match in matches:
            receipt = receipts[match.log.transaction_hash]
            order = await self._order(rpc, match) if receipt is None else _order_in(receipt, match)
            found.append(self._log_event(match, headers[int(match.log.block_number, 16)], order))
        return found

    async def _order(self, rpc: Rpc, match: LogMatch[TriggerRow]) -> int:
        """Return the order of a log among those of its transaction, where no receipt tells."""
        logs = await rpc.typed(list[_Log], "eth_getLogs", {"blockHash": match.log.block_hash})
        same = sorted(int(one.logIndex, 16) for one in logs if one.transactionHash == match.log.transaction_hash)
        if int(match.log.log_index, 16) not in same:
            raise Inconsistent(f"chain {self.chain.id}: no receipt yet for {match.log.transaction_hash}")
        return same.index(int(match.log.log_index, 16))

    def _log_event(self, match: LogMatch[TriggerRow], header: Header, order: int) -> Found:
        log = match.log
        said = hashlib.sha256("|".join((log.address.lower(), *log.topics, log.data)).encode()).hexdigest()[:16]
        result = {**match.result, "blockTimestamp": header.time_ms // 1000}
        identity = f"evm:{self.chain.id}:{log.transaction_hash}:{order}:{said}"
        event = Event(match.row, identity, result, header.time_ms)
        return Found(event, header.height, header.hash, log.transaction_hash, self._policy(match.watch.policy))

    def _policy(self, wanted: Policy | None) -> Policy:
        return self.chain.confirmations if wanted is None else wanted

    async def _receipts(self, rpc: Rpc, hashes: list[str], *, patient: bool) -> dict[str, Receipt | None]:
        unique = list(dict.fromkeys(hashes))
        found = dict(zip(unique, await rpc.receipts(unique), strict=True))
        missing = [hash_ for hash_, receipt in found.items() if receipt is None]
        if missing and patient:
            raise Inconsistent(f"chain {self.chain.id}: no receipt yet for {missing[0]}")
        return found

    async def _transfers(self, rpc: Rpc, headers: Sequence[Header]) -> list[Found]:
        blocks = await rpc.blocks([header.height for header in headers])
        served = [block for block, header in zip(blocks, headers, strict=True) if block and block.hash == header.hash]
        if len(served) < len(headers):
            raise Inconsistent(f"chain {self.chain.id}: blocks up to {headers[-1].height} changed while they were read")
        transfers = [transfer for block in served for transfer in transfers_of(block)]
        metrics.EVENTS.labels(self._source).inc(len(transfers))
        matches = self._matcher.match_transfers(self.chain.id, transfers)
        if not matches:
            return []
        receipts = await self._receipts(rpc, [match.transfer.hash for match in matches], patient=True)
        by_height = {block.height: block for block in served}
        return [
            self._native_event(match, by_height[match.transfer.place["blockNumber"]])
            for match in matches
            if _has_succeeded(receipts[match.transfer.hash])
        ]

    def _native_event(self, match: NativeMatch[TriggerRow], block: Block) -> Found:
        tx = match.transfer.hash
        result: dict[str, Any] = {**match.result, "symbol": self.chain.symbol, "blockTimestamp": block.time_ms // 1000}
        event = Event(match.row, f"evm:{self.chain.id}:{tx}:value", result, block.time_ms)
        return Found(event, block.height, block.hash, tx, self._policy(match.policy))


def _order_in(receipt: Receipt, match: LogMatch[TriggerRow]) -> int:
    order = [int(one.log_index, 16) for one in receipt.logs]
    index = int(match.log.log_index, 16)
    if receipt.block_hash != match.log.block_hash or index not in order:
        raise Inconsistent(f"chain {match.watch.chain_id}: a receipt of {receipt.block_hash} does not fit its log")
    return order.index(index)


def _has_succeeded(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.status != "0x0"


def transfers_of(block: Block) -> list[Transfer]:
    """Return the transfers of coins that the transactions of a block make themselves."""
    place = {"blockNumber": block.height, "blockHash": block.hash}
    return [
        Transfer(one.hash, one.from_, one.to, int(one.value, 16), place)
        for one in block.transactions
        if one.to and one.value not in ("0x0", "0x", "0x00")
    ]
