"""A chain as a source: new blocks to events, behind a durable cursor that follows the chain through its forks.

One poll reads one range of blocks: the merged filter's logs and, where a trigger asks for them, native transfers.
Events and the cursor move in one transaction. The cursor keeps the hashes of recent blocks; when the chain no longer
has the last of them, the source goes back to the newest block that both share, and reads on from there. What fired
before fires again only if it is another event, since an event's identity survives its re-inclusion.
"""

import logging
from collections.abc import Collection, Iterable
from typing import Any

from b3os import metrics
from b3os.chain.blocks import Block, Header, Receipt, bloom_may_contain
from b3os.chain.chains import Chain
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError
from b3os.detect.evm import EVM_TYPES
from b3os.detect.matcher import LogMatch, Matcher, NativeMatch, Transfer
from b3os.net.http import GuardedClient
from b3os.run.times import rfc3339
from b3os.store.leases import read_cursor
from b3os.store.pool import Pool
from b3os.store.triggers import TriggerRow
from services.master.admit import Admitter, Event
from services.master.sources.tokens import Tokens
from services.master.table import Table

log = logging.getLogger("b3os.master")

FIRST_SPAN = 1000
MAX_SPAN = 10_000
#: Blocks with their transactions are large: fewer at a time.
TRANSFER_SPAN = 20
#: Recent blocks whose hashes are kept: a fork deeper than this is reported and read on from its oldest.
MEMORY = 128
#: Reads of a range that may contradict themselves before what is there is taken.
PATIENCE = 5
#: Block times are whole seconds: a block may say that it is older than the trigger it fires by this much.
CLOCK_MS = 1000
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Inconsistent(ChainUnreachable):
    """Two answers about one block do not agree: another backend answered, or the chain moved. Read again."""


class ChainSource:
    """Follows one chain under the lease `chain:<id>`."""

    def __init__(self, rpc: Rpc, *, table: Table, matcher: Matcher[TriggerRow], admitter: Admitter, pool: Pool) -> None:
        self.chain = rpc.chain
        self.name = f"chain:{rpc.chain.id}"
        self._rpc = rpc
        self._table = table
        self._matcher = matcher
        self._admitter = admitter
        self._pool = pool
        self._tokens = Tokens(rpc)
        self._epoch: int | None = None
        #: (number, hash) of read blocks, oldest first; the last one is the cursor.
        self._recent: list[tuple[int, str]] = []
        self._span = FIRST_SPAN
        self._failures = 0

    @property
    def is_wanted(self) -> bool:
        """Whether any trigger listens to this chain."""
        return self._matcher.watches_logs(self.chain.id) or self._matcher.watches_transfers(self.chain.id)

    async def forget(self) -> None:
        """Drop what a lost lease makes stale."""
        self._epoch = None

    def failed(self, error: Exception) -> float:
        """Note a failed poll; returns the seconds to wait."""
        self._failures += 1
        if isinstance(error, RpcError) and error.cause is Cause.TOO_WIDE and self._span > 1:
            self._span = max(1, min(error.suggested or self._span // 2, self._span // 2))
            return 0.0
        return BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]

    async def poll(self, epoch: int) -> float:
        """Read the next range; returns the seconds until the next poll."""
        target = await self._rpc.height() - self.chain.confirmations
        if target < 0:
            return self.chain.poll_s
        if epoch != self._epoch:
            await self._begin(epoch, target)
        last = self._recent[-1][0]
        if target <= last:
            return self.chain.poll_s
        until = min(target, last + self._range())
        newest = await self._join(until)
        if newest is None:
            return self.chain.poll_s
        first = self._recent[-1][0] + 1
        events = await self._read(first, until, newest)
        self._recent = [*self._recent, (until, newest.hash)][-MEMORY:]
        await self._admitter.admit(events, (self.name, epoch, self._position(newest)))
        metrics.CHAIN_HEAD.labels(str(self.chain.id)).set(until)
        metrics.MATCHES.labels(self.name).inc(len(events))
        self._failures = 0
        self._span = min(MAX_SPAN, self._span + self._span // 10 + 1)
        return 0.0 if until < target else self.chain.poll_s

    def _range(self) -> int:
        return min(self._span, TRANSFER_SPAN) if self._matcher.watches_transfers(self.chain.id) else self._span

    def _position(self, newest: Header) -> dict[str, Any]:
        return {"recent": self._recent, "timeMs": newest.time_ms}

    async def _begin(self, epoch: int, target: int) -> None:
        """Take up the stored cursor, or begin at the block before the oldest trigger's time."""
        stored = await read_cursor(self._pool, self.name) or {}
        since_ms = (self._table.since_ms(self._table.index.slots_on(self.chain.id)) or 0) - CLOCK_MS
        recent = [(int(number), str(hash_)) for number, hash_ in stored.get("recent", ())]
        if not recent or int(stored.get("timeMs", 0)) < since_ms:
            start = await self._block_before(since_ms, target)
            if not recent or start.height > recent[-1][0]:
                recent = [(start.height, start.hash)]
                await self._admitter.admit([], (self.name, epoch, {"recent": recent, "timeMs": start.time_ms}))
        self._recent = recent
        self._epoch = epoch

    async def _block_before(self, time_ms: int, target: int) -> Header:
        """Return the newest block from before a time, or the first block: bisection over block timestamps."""
        found = await self._header(target)
        low, high, step = target, target, 16
        while found.time_ms >= time_ms and low:  # gallop back from the head, since the time is nearly always recent
            low, high, step = max(0, low - step), low, step * 4
            found = await self._header(low)
        while low < high - 1:
            middle = (low + high) // 2
            header = await self._header(middle)
            if header.time_ms < time_ms:
                low, found = middle, header
            else:
                high = middle
        return found

    async def _header(self, number: int) -> Header:
        found = (await self._rpc.headers([number]))[0]
        if found is None:
            raise Inconsistent(f"chain {self.chain.id}: block {number} is announced but not served yet")
        return found

    async def _join(self, until: int) -> Header | None:
        """Return the header of `until`, after the cursor stands on a block of its chain; None if it must wait."""
        last, last_hash = self._recent[-1]
        if until == last + 1:
            newest = (await self._rpc.headers([until]))[0]
            if newest is None or newest.parent_hash == last_hash:
                return newest
        else:
            seen, newest = await self._rpc.headers([last, until])
            if newest is None or seen is None or seen.hash == last_hash:
                return newest if seen is not None else None
        await self._go_back()
        return None

    async def _go_back(self) -> None:
        """Move the cursor to the newest remembered block that the chain still has."""
        gone = self._recent[-1]
        numbers = [number for number, _ in self._recent]
        headers = await self._rpc.headers(numbers)
        if any(header is None for header in headers):
            raise Inconsistent(f"chain {self.chain.id}: remembered blocks are not served; is the upstream behind?")
        shared = [pair for pair, header in zip(self._recent, headers, strict=True) if header and header.hash == pair[1]]
        if not shared:
            oldest = headers[0]
            assert oldest is not None, "checked above"
            log.error("fork deeper than what is remembered", extra={"chain": self.chain.id, "block": oldest.height})
            shared = [(oldest.height - 1, oldest.parent_hash)]
        self._recent = shared
        log.warning("chain forked", extra={"chain": self.chain.id, "from": gone[0], "back_to": shared[-1][0]})

    async def _read(self, first: int, until: int, newest: Header) -> list[Event]:
        since = self._admitter.now_ms()
        events = []
        if self._matcher.watches_logs(self.chain.id):
            events += await self._logs(first, until, newest)
        if self._matcher.watches_transfers(self.chain.id):
            events += await self._transfers(first, until)
        fresh = [event for event in events if event.time_ms >= event.row.active_since_ms - CLOCK_MS]
        stamp = rfc3339(since)
        for event in fresh:
            event.result["triggeredAt"] = stamp
        return fresh

    async def _logs(self, first: int, until: int, newest: Header) -> list[Event]:
        wanted = self._matcher.filter(self.chain.id)
        if first == until:
            place: dict[str, Any] = {"blockHash": newest.hash}  # the answer cannot come from another fork
        else:
            place = {"fromBlock": hex(first), "toBlock": hex(until)}
        body = await self._rpc.raw("eth_getLogs", {**wanted, **place})
        count, matches = self._matcher.match_logs(self.chain.id, body)
        metrics.EVENTS.labels(self.name).inc(count)
        if not count and first == until and self._failures < PATIENCE and _may_hold(newest, wanted):
            self._failures += 1
            again = await self._rpc.raw("eth_getLogs", {**wanted, **place})
            count, matches = self._matcher.match_logs(self.chain.id, again)
        matches = [m for m in matches if not m.log.removed and first <= int(m.log.block_number, 16) <= until]
        if not matches:
            return []
        receipts = await self._receipts([m.log.transaction_hash for m in matches])
        times = await self._times({int(m.log.block_number, 16) for m in matches}, newest)
        await self._tokens.name([m.result for m in matches if m.watch.type != "evm-log"])
        return [self._log_event(m, receipts[m.log.transaction_hash], times) for m in matches]

    def _log_event(self, match: LogMatch[TriggerRow], receipt: Receipt | None, times: dict[int, Header]) -> Event:
        number = int(match.log.block_number, 16)
        header = times[number]
        if match.log.block_hash != header.hash:
            raise Inconsistent(f"chain {self.chain.id}: logs of block {number} come from another fork")
        where = f"{match.log.block_hash}:{match.log.log_index}"
        if receipt is not None:
            order = [int(one.log_index, 16) for one in receipt.logs]
            index = int(match.log.log_index, 16)
            if receipt.block_hash != match.log.block_hash or index not in order:
                raise Inconsistent(f"chain {self.chain.id}: a receipt of block {number} does not fit its log")
            where = f"{match.log.transaction_hash}:{order.index(index)}"
        result = {**match.result, "blockTimestamp": header.time_ms // 1000}
        return Event(match.row, f"evm:{self.chain.id}:{where}", result, header.time_ms)

    async def _receipts(self, hashes: list[str]) -> dict[str, Receipt | None]:
        unique = list(dict.fromkeys(hashes))
        found = dict(zip(unique, await self._rpc.receipts(unique), strict=True))
        missing = [hash_ for hash_, receipt in found.items() if receipt is None]
        # Some chains have logs that belong to a block, with no transaction behind them.
        if missing and self._failures < PATIENCE:
            raise Inconsistent(f"chain {self.chain.id}: no receipt yet for {missing[0]}")
        return found

    async def _times(self, numbers: set[int], newest: Header) -> dict[int, Header]:
        others = sorted(numbers - {newest.height})
        found = {newest.height: newest}
        for number, header in zip(others, await self._rpc.headers(others), strict=True):
            if header is None:
                raise Inconsistent(f"chain {self.chain.id}: block {number} is gone")
            found[number] = header
        return found

    async def _transfers(self, first: int, until: int) -> list[Event]:
        blocks = await self._rpc.blocks(range(first, until + 1))
        if any(block is None for block in blocks):
            raise Inconsistent(f"chain {self.chain.id}: blocks up to {until} are not served yet")
        served = {block.height: block for block in blocks if block is not None}
        transfers = [transfer for block in served.values() for transfer in _transfers_of(block)]
        metrics.EVENTS.labels(self.name).inc(len(transfers))
        matches = self._matcher.match_transfers(self.chain.id, transfers)
        if not matches:
            return []
        receipts = await self._receipts([m.transfer.hash for m in matches])
        return [self._native_event(m, served) for m in matches if _has_succeeded(receipts[m.transfer.hash])]

    def _native_event(self, match: NativeMatch[TriggerRow], blocks: dict[int, Block]) -> Event:
        block = blocks[match.transfer.place["blockNumber"]]
        result = {**match.result, "symbol": self.chain.symbol, "blockTimestamp": block.time_ms // 1000}
        return Event(match.row, f"evm:{self.chain.id}:{match.transfer.hash}:value", result, block.time_ms)


class Chains:
    """The configured chains, and every trigger that listens to one."""

    types = EVM_TYPES

    def __init__(
        self, chains: Iterable[Chain], *, http: GuardedClient, table: Table, admitter: Admitter, pool: Pool
    ) -> None:
        self.matcher: Matcher[TriggerRow] = Matcher(table.index, table.row, table.refuse_row)
        self._sources = [
            ChainSource(Rpc(chain, http), table=table, matcher=self.matcher, admitter=admitter, pool=pool)
            for chain in chains
        ]

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger that has no pattern; raises BadInput."""
        self.matcher.put(slot, row)

    def drop(self, slot: int) -> None:
        """Nothing is held here: the index has it all."""

    def wanted(self) -> Collection[ChainSource]:
        """Return the sources of chains that some trigger listens to."""
        return [source for source in self._sources if source.is_wanted]


def _has_succeeded(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.status != "0x0"


def _transfers_of(block: Block) -> list[Transfer]:
    place = {"blockNumber": block.height, "blockHash": block.hash}
    return [
        Transfer(one.hash, one.from_, one.to, int(one.value, 16), place)
        for one in block.transactions
        if one.to and one.value not in ("0x0", "0x", "0x00")
    ]


def _may_hold(header: Header, wanted: dict[str, Any]) -> bool:
    """Say whether the block's bloom may hold something that the filter asks for; an unknown bloom says no."""
    if len(header.logs_bloom) != 514:
        return False
    bloom = bytes.fromhex(header.logs_bloom[2:])

    def any_of(values: list[str] | None) -> bool:
        return values is None or any(bloom_may_contain(bloom, bytes.fromhex(value[2:])) for value in values[:200])

    topics = wanted.get("topics")
    return any(bloom) and any_of(wanted.get("address")) and any_of(topics[0] if topics else None)
