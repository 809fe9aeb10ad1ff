"""Reading the logs of blocks, whatever a provider refuses: by range, by hash, by halves of the filter, by receipts.

Answers are bytes: the compiled index matches them, and only hits become objects. An answer that the blocks' blooms
contradict is asked again, from another upstream where there is one.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Generic

import msgspec

from b3os.abi.signature import keccak
from b3os.chain.blocks import Header
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, RpcError
from b3os.detect.matcher import LogMatch, Matcher, RowT
from b3os.reading.blocks import Inconsistent

#: A bloom that would name one of the asked items by chance less often than this proves that a log is there.
PROOF = 0.001
#: Filters with more items than this are not held against blooms: they may hold nearly any.
BLOOM_ITEMS = 500


class _Where(msgspec.Struct):
    blockNumber: str  # noqa: N815, wire name
    removed: bool = False


class Logs(Generic[RowT]):
    """Reads and matches the logs of one chain."""

    def __init__(self, matcher: Matcher[RowT], chain_id: int) -> None:
        self._matcher = matcher
        self._chain_id = chain_id
        #: The filter that the bloom masks below were made of: of addresses, and of each topic.
        self._masked: dict[str, Any] = {"": ""}
        self._masks: list[list[int]] = []
        #: Logs of the last read, matching or not.
        self.count = 0

    async def read(self, rpc: Rpc, blocks: Sequence[Header], *, patient: bool) -> list[LogMatch[RowT]]:
        """Return the matches in blocks that follow each other, in order, each once; raises RpcError when too wide."""
        wanted = self._matcher.filter(self._chain_id)
        bodies = await self._bodies(rpc, wanted, blocks)
        suspects = self._suspects(wanted, blocks, bodies) if rpc.chain.has_bloom else []
        for block in suspects:
            again = await self._bodies(rpc.after(rpc.answered), wanted, [block])
            if patient and self._is_proof(block) and not _named(again):
                raise Inconsistent(
                    f"chain {self._chain_id}: the bloom of block {block.height} names logs that are not served"
                )
            bodies += again
        return self._matches(bodies, blocks)

    async def _bodies(self, rpc: Rpc, wanted: dict[str, Any], blocks: Sequence[Header]) -> list[bytes]:
        """Ask for logs; what is still too much for one block is split by address, by topic, and taken from receipts."""
        first, last = blocks[0], blocks[-1]
        # By its hash, so that the answer of one block cannot come from another fork.
        place = {"blockHash": last.hash} if first is last else {"fromBlock": first.number, "toBlock": last.number}
        try:
            return [await rpc.raw("eth_getLogs", {**wanted, **place})]
        except RpcError as error:
            if error.cause is Cause.TOO_WIDE and len(blocks) > 1:
                raise
            if error.cause not in (Cause.TOO_WIDE, Cause.TOO_MANY):
                raise
            halves = _halved(wanted)
            if not halves and first is not last:
                raise
        if not halves:
            return [await self._from_receipts(rpc, last)]
        return [body for half in halves for body in await self._bodies(rpc, half, blocks)]

    async def _from_receipts(self, rpc: Rpc, block: Header) -> bytes:
        receipts = await rpc.typed(list[dict[str, Any]] | None, "eth_getBlockReceipts", block.hash)  # type: ignore[arg-type]
        if receipts is None:
            raise Inconsistent(f"chain {self._chain_id}: the receipts of block {block.height} are not served yet")
        return msgspec.json.encode([log for receipt in receipts for log in receipt["logs"]])

    def _suspects(self, wanted: dict[str, Any], blocks: Sequence[Header], bodies: list[bytes]) -> list[Header]:
        """Return the blocks whose bloom names what we asked for, and of which no log came."""
        masks = self._filter_masks(wanted)
        if sum(map(len, masks[:2])) > BLOOM_ITEMS:
            return []
        named = [block for block in blocks if _may_hold(block, masks)]
        if not named:
            return []
        found = _named(bodies)
        return [block for block in named if block.number not in found]

    def _is_proof(self, block: Header) -> bool:
        """Say whether a bloom is so sparse that it does not name what we ask for by chance."""
        by_chance = (int(block.logs_bloom, 16).bit_count() / 2048) ** 3
        return min(by_chance * len(masks) for masks in self._masks if masks) < PROOF

    def _filter_masks(self, wanted: dict[str, Any]) -> list[list[int]]:
        """Return the masks of addresses and of each topic; of later topics none where there are too many."""
        if self._masked != wanted:
            # One mask more than the limit says that there are too many; the others need no hashing.
            asked = [(one or [])[: BLOOM_ITEMS + 1] for one in (wanted.get("address"), *wanted.get("topics", ()))]
            kept = [one if at < 2 or len(one) <= BLOOM_ITEMS else [] for at, one in enumerate(asked)]
            self._masked, self._masks = wanted, [[_mask(item) for item in one] for one in kept]
        return self._masks

    def _matches(self, bodies: list[bytes], blocks: Sequence[Header]) -> list[LogMatch[RowT]]:
        hashes = {block.height: block.hash for block in blocks}
        self.count = 0
        found: dict[tuple[str, str, str, str], LogMatch[RowT]] = {}
        for body in bodies:
            count, matches = self._matcher.match_logs(self._chain_id, body)
            self.count += count
            for match in matches:
                log = match.log
                number = int(log.block_number, 16)
                if log.removed or number not in hashes:
                    continue
                if log.block_hash != hashes[number]:
                    raise Inconsistent(f"chain {self._chain_id}: logs of block {number} come from another fork")
                found[log.block_hash, log.log_index, match.row.workflow_id, match.row.node_id] = match
        return sorted(found.values(), key=lambda m: (int(m.log.block_number, 16), int(m.log.log_index, 16)))


def _named(bodies: list[bytes]) -> set[str]:
    """Return the numbers of the blocks that answers have logs of."""
    found = (one for body in bodies for one in msgspec.json.decode(body, type=list[_Where]))
    return {one.blockNumber for one in found if not one.removed}


def _halved(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    addresses, topics = wanted.get("address") or [], wanted.get("topics") or []
    if len(addresses) > 1:
        return [{**wanted, "address": half} for half in _halves(addresses)]
    for at, one in enumerate(topics):
        if one and len(one) > 1:
            return [{**wanted, "topics": [*topics[:at], half, *topics[at + 1 :]]} for half in _halves(one)]
    return []


def _halves(items: list[str]) -> Iterator[list[str]]:
    middle = len(items) // 2
    yield items[:middle]
    yield items[middle:]


def _mask(item: str) -> int:
    hashed = keccak(bytes.fromhex(item[2:]))
    return sum({1 << (int.from_bytes(hashed[at : at + 2], "big") & 2047) for at in (0, 2, 4)})


def _may_hold(header: Header, masks: list[list[int]]) -> bool:
    """Say whether a block's bloom may hold something that the filter asks for; an unknown or empty bloom says no."""
    if len(header.logs_bloom) != 514:
        return False
    bloom = int(header.logs_bloom, 16)
    return bool(bloom) and all(not any_of or any(bloom & mask == mask for mask in any_of) for any_of in masks)
