"""What triggers see in blocks, as events that start runs.

An event's identity is (chain, transaction, order of the log in it, what it says): it survives a re-inclusion elsewhere,
and a log that comes back with other arguments is another event. Header, log and receipt must name the same block, or
the blocks are read again.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from b3os import metrics
from b3os.chain.blocks import Header, Receipt
from b3os.chain.rpc import Rpc
from b3os.detect.event_logs import LogEvent
from b3os.detect.matcher import Matcher
from b3os.reading.blocks import Inconsistent
from b3os.reading.receipts import receipts_of
from b3os.reading.sight import Seen, Sight
from b3os.run.times import rfc3339
from b3os.store.triggers import TriggerRow
from services.master.admit import Event
from services.master.chain.place import Policy

#: Block times are whole seconds: a block may say that it is older than the trigger it fires by this much.
CLOCK_MS = 1000
#: Reads that may find no receipt of a log before its place is taken from the block's logs: some chains' logs belong to
#: a block alone.
PATIENCE = 5


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
        self._sight = Sight(rpc, matcher)
        self._source = f"chain:{rpc.chain.id}"

    @property
    def reads_blocks(self) -> bool:
        """Whether blocks are read with their transactions, which are large."""
        return self._sight.reads_blocks

    @property
    def is_partial(self) -> bool:
        """Whether the last read missed what calls inside transactions do, though some upstream traces."""
        return self._sight.is_partial

    async def read(
        self, rpc: Rpc, blocks: Sequence[Header], *, patient: bool, now_ms: int, settles: bool = False
    ) -> list[Found]:
        """Return the events in blocks, in order; raises RpcError when that is too much for one read.

        `settles`: no other read follows, so that traces have more time.
        """
        seen = await self._sight.logs(rpc, blocks, patient=patient)
        found = await self._log_events(rpc, seen, patient=patient)
        count = self._sight.count
        others = [*await self._sight.transactions(rpc, blocks, settles=settles), *self._sight.turns(blocks)]
        found += [self._found(one, one.mark) for one in others]
        metrics.EVENTS.labels(self._source).inc(count + self._sight.count)
        stamp = rfc3339(now_ms)
        fresh = [one for one in found if one.event.time_ms >= one.event.row.active_since_ms - CLOCK_MS]
        for one in fresh:
            one.event.result["triggeredAt"] = stamp
        metrics.MATCHES.labels(self._source).inc(len(fresh))
        return fresh

    async def _log_events(self, rpc: Rpc, seen: Sequence[Seen[TriggerRow]], *, patient: bool) -> list[Found]:
        if not seen:
            return []
        receipts = await receipts_of(rpc, [(one.block.hash, one.tx) for one in seen], patient=patient)
        await self._sight.name_tokens(seen)
        found = []
        for one in seen:
            assert one.log is not None, "the sight of logs"
            receipt = receipts[one.tx]
            order = await self._order(rpc, one.log) if receipt is None else self._order_in(receipt, one.log)
            said = "|".join((one.log.address.lower(), *one.log.topics, one.log.data))
            found.append(self._found(one, f"{one.tx}:{order}:{hashlib.sha256(said.encode()).hexdigest()[:16]}"))
        return found

    async def _order(self, rpc: Rpc, log: LogEvent) -> int:
        """Return the order of a log among those of its transaction, where no receipt tells."""
        logs = await rpc.typed(list[_Log], "eth_getLogs", {"blockHash": log.block_hash})
        same = sorted(int(one.logIndex, 16) for one in logs if one.transactionHash == log.transaction_hash)
        if int(log.log_index, 16) not in same:
            raise Inconsistent(f"chain {self.chain.id}: no receipt yet for {log.transaction_hash}")
        return same.index(int(log.log_index, 16))

    def _order_in(self, receipt: Receipt, log: LogEvent) -> int:
        order = [int(one.log_index, 16) for one in receipt.logs]
        index = int(log.log_index, 16)
        if receipt.block_hash != log.block_hash or index not in order:
            raise Inconsistent(f"chain {self.chain.id}: a receipt of {receipt.block_hash} does not fit its log")
        return order.index(index)

    def _found(self, one: Seen[TriggerRow], what: str) -> Found:
        event = Event(one.row, f"evm:{self.chain.id}:{what}", one.result, one.block.time_ms)
        policy = self.chain.confirmations if one.policy is None else one.policy
        return Found(event, one.block.height, one.block.hash, one.tx, policy)
