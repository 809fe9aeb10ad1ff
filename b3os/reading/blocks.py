"""Blocks and heights that agree with each other, or are asked for again."""

from collections.abc import Sequence

from b3os.chain.blocks import Block, Header
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable
from b3os.detect.evm import Call
from b3os.detect.matcher import Transfer

#: Where a chain neither says nor is known to say what is final.
FINALITY_DEPTH = 64


class Inconsistent(ChainUnreachable):
    """Two answers about one block do not agree: another backend answered, or the chain moved. Read again."""


class Forked(Exception):
    """The next block does not have our newest one as its parent."""


async def joined(rpc: Rpc, first: int, until: int, parent: str | None) -> list[Header]:
    """Return the headers from `first` on that follow each other after `parent`, as many as are served.

    Raises Forked; without a parent any first block will do. A height that the chain left out is passed by: what
    follows names its parent all the same.
    """
    found: list[Header] = []
    for header in await rpc.headers(range(first, until + 1)):
        if header is None:
            continue
        if found and header.parent_hash != found[-1].hash:
            return found  # the answers are of two views: what joins is good
        if not found and parent is not None and header.parent_hash != parent:
            raise Forked
        found.append(header)
    return found


async def whole_blocks(rpc: Rpc, headers: Sequence[Header]) -> list[Block]:
    """Return blocks with their transactions."""
    blocks = await rpc.blocks([header.height for header in headers])
    served = [block for block, header in zip(blocks, headers, strict=True) if block and block.hash == header.hash]
    if len(served) < len(headers):
        raise Inconsistent(f"chain {rpc.chain.id}: blocks up to {headers[-1].height} changed while they were read")
    return served


async def final_height(rpc: Rpc, head: int) -> int:
    """Return the newest block that no fork takes away, as the chain's settings or its nodes say."""
    depth = rpc.chain.finality_depth
    header = None if depth else await rpc.tagged("finalized")
    return header.height if header is not None else head - (depth or FINALITY_DEPTH)


async def safe_height(rpc: Rpc, final: int) -> int:
    """Return the newest block that the nodes call safe; the final one where they call none so."""
    found = await rpc.tagged("safe")
    return max(final, found.height) if found is not None else final


def transfers_of(block: Block) -> list[Transfer]:
    """Return the transfers of coins that the transactions of a block make themselves."""
    place = {"blockNumber": block.height, "blockHash": block.hash}
    return [
        Transfer(one.hash, one.from_, one.to, int(one.value, 16), place)
        for one in block.transactions
        if one.to and one.value not in ("0x0", "0x", "0x00")
    ]


def calls_of(block: Block) -> list[Call]:
    """Return the transactions of a block."""
    place = {"blockNumber": block.height, "blockHash": block.hash}
    return [Call(one.hash, one.from_, one.to, int(one.value, 16), one.input, place) for one in block.transactions]
