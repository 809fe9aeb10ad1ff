"""Receipts of transactions: of many in one block by eth_getBlockReceipts where an upstream has it, else one by one."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from b3os.chain.blocks import Receipt
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, RpcError
from b3os.chain.upstreams import Upstream
from b3os.errors import B3osError
from b3os.reading.blocks import Inconsistent

#: Receipts of one block from which on all of it are asked for: 200 of them are a megabyte, and one call.
MANY = 20
#: How long an upstream that has no such method, or failed, is not asked for it again.
AGAIN_S, RETRY_S = 3600.0, 5.0
LIMIT_S = 10.0

#: The hash of a block, and of a transaction in it.
Place = tuple[str, str]


async def receipts_of(rpc: Rpc, wanted: Sequence[Place], *, patient: bool) -> dict[str, Receipt | None]:
    """Return receipts by transaction; who is patient rather asks again than take none."""
    by_block: defaultdict[str, set[str]] = defaultdict(set)
    for block, hash_ in wanted:
        by_block[block].add(hash_)
    found: dict[str, Receipt | None] = {}
    for block, hashes in by_block.items():
        if len(hashes) >= MANY:
            found |= {hash_: one for hash_, one in (await _of_block(rpc, block)).items() if hash_ in hashes}
    left = [hash_ for hash_ in dict.fromkeys(hash_ for _, hash_ in wanted) if hash_ not in found]
    found |= zip(left, await rpc.receipts(left), strict=True)
    missing = [hash_ for hash_, receipt in found.items() if receipt is None]
    if missing and patient:
        raise Inconsistent(f"chain {rpc.chain.id}: no receipt yet for {missing[0]}")
    return found


async def _of_block(rpc: Rpc, block: str) -> dict[str, Receipt]:
    """Return all receipts of a block; nothing where that cannot be had. A failure is not held against an upstream."""
    for upstream in rpc.order():
        if upstream.receipts_at > rpc.now():
            continue
        try:
            async with asyncio.timeout(LIMIT_S):
                receipts = await rpc.one(upstream, list[Receipt] | None, "eth_getBlockReceipts", block)  # type: ignore[arg-type]
        except (OSError, TimeoutError, msgspec.DecodeError, RecursionError, B3osError) as error:
            _note(upstream, rpc.now(), error)
            continue
        if receipts:
            return {one.transaction_hash: one for one in receipts if one.block_hash == block}
    return {}


def _note(upstream: Upstream, now: float, error: Exception) -> None:
    is_lasting = isinstance(error, RpcError) and error.cause in (Cause.OTHER, Cause.QUOTA)
    upstream.receipts_at = now + (AGAIN_S if is_lasting else RETRY_S)
