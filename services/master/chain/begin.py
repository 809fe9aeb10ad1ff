"""Where a chain is read from: the block before a time, and the newest remembered block that a fork has left."""

from b3os.chain.blocks import Header
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import ChainUnreachable
from b3os.reading.blocks import Inconsistent
from services.master.chain.place import Place

#: Heights that a chain may leave out in a row: with the block below them they are one request.
MOST_LEFT_OUT = 49


class ForkedTooDeep(ChainUnreachable):
    """A chain no longer has a block that was final: nothing more is read, rather than guessed."""

    code = 503020


async def block_before(rpc: Rpc, time_ms: int, target: int) -> Header:
    """Return the newest block from before a time, or the first block: bisection over block timestamps."""
    found = await _header(rpc, target)
    low, high, step = target, target, 16
    while found.time_ms >= time_ms and low:  # gallop back from the head, since the time is nearly always recent
        low, high, step = max(0, low - step), low, step * 4
        found = await _header(rpc, low)
    while low < high - 1:
        middle = (low + high) // 2
        header = await _header(rpc, middle)
        if header.time_ms < time_ms:
            low, found = middle, header
        else:
            high = middle
    return found


async def _header(rpc: Rpc, number: int) -> Header:
    """Return a block, or the newest one below it: the chain may have left a height out."""
    for first in (number, max(0, number - MOST_LEFT_OUT)):
        found = [header for header in await rpc.headers(range(first, number + 1)) if header]
        if found:
            return found[-1]
    raise Inconsistent(f"chain {rpc.chain.id}: block {number} is announced but not served yet")


async def shared_height(rpc: Rpc, place: Place) -> int:
    """Return the newest remembered block that the chain still has; raises ForkedTooDeep when there is none."""
    headers = await rpc.headers([number for number, _ in place.recent])
    if any(header is None for header in headers):
        raise Inconsistent(f"chain {rpc.chain.id}: remembered blocks are not served; is the upstream behind?")
    pairs = zip(place.recent, headers, strict=True)
    shared = [number for (number, hash_), header in pairs if header and header.hash == hash_]
    if not shared:
        raise ForkedTooDeep(
            f"chain {rpc.chain.id} no longer has block {place.final}, which was final, and is not read. Check the "
            f"upstreams; to begin anew at the head, delete the row chain:{rpc.chain.id} of the table cursors."
        )
    return shared[-1]
