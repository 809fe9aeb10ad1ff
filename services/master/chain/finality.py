"""The second read of a chain: blocks that are final are read again, from a second upstream where there is one.

What the first read missed fires late. A run whose event is in no final block, and whose transaction no upstream knows
elsewhere, is told that its event was removed; every other is told that it is final.
"""

from collections.abc import Sequence

from b3os.chain.blocks import Header, Receipt
from b3os.chain.rpc import Rpc
from b3os.chain.rpc_errors import Cause, ChainUnreachable, RpcError
from b3os.store.trigger_notices import Sighting
from services.master.chain.book import Fate, run_of
from services.master.chain.reading import Found, Reader


class SecondRead:
    """Reads final blocks, and decides the fate of what had fired in them."""

    def __init__(self, rpc: Rpc, reader: Reader) -> None:
        self._rpc = rpc
        self._reader = reader
        #: Nobody could say what calls inside the transactions of the last blocks did.
        self.is_partial = False

    async def read(self, rpc: Rpc, blocks: Sequence[Header], *, patient: bool, now_ms: int) -> list[Found]:
        """Return all events that any of two upstreams has in these blocks."""
        lead = rpc.first()
        found = await self._reader.read(rpc, blocks, patient=patient, now_ms=now_ms, settles=True)
        self.is_partial = self._reader.is_partial
        if len(self._rpc.upstreams.order()) < 2:
            return found
        try:
            more = await self._reader.read(self._rpc.after(lead), blocks, patient=False, now_ms=now_ms)
        except (ChainUnreachable, RpcError) as error:
            if isinstance(error, RpcError) and error.cause is Cause.TOO_WIDE:
                raise  # both are asked again, for less
            return found  # a second opinion that is not to be had; the blooms were checked
        known = {run_of(one) for one in found}
        return [*found, *[one for one in more if run_of(one) not in known]]

    async def fates(self, pending: Sequence[Sighting], found: Sequence[Found], until: int) -> list[Fate]:
        """Decide the runs whose events are in final blocks, or should have been."""
        finals = dict.fromkeys(run_of(one) for one in found)
        fates = [(*run, "finalized") for run in finals]
        for sighting in pending:
            if (sighting.org_id, sighting.run_id) not in finals:
                state = await self._fate(sighting, until)
                if state:
                    fates.append((sighting.org_id, sighting.run_id, state))
        return sorted(fates)

    async def _fate(self, sighting: Sighting, until: int) -> str:
        """Say what became of an event that the second read did not find; empty: not to be said yet."""
        receipts = await self._receipts(sighting.tx) if sighting.tx else []
        if not receipts:
            return "removed"
        receipt = receipts[0]
        number = int(receipt.block_number, 16)
        if number > until:
            return ""  # mined again, not yet final
        (header,) = await self._rpc.headers([number])
        if header is None or header.hash != receipt.block_hash:
            return ""  # two views: ask again with the next blocks
        there = await self._reader.read(self._rpc, [header], patient=True, now_ms=0)
        if (sighting.org_id, sighting.run_id) in {run_of(one) for one in there}:
            return "finalized"
        if self.is_partial or self._reader.is_partial:
            return "finalized" if header.hash == sighting.block_hash else ""  # the same block is the same event
        return "removed"

    async def _receipts(self, tx: str) -> list[Receipt]:
        """Ask every upstream that can be asked: nothing is taken back on one's word."""
        found: list[Receipt] = []
        rpc = self._rpc
        for _ in self._rpc.upstreams.order():
            (receipt,) = await rpc.receipts([tx])
            if receipt is not None:
                found.append(receipt)
            rpc = rpc.after(rpc.answered)
        return found
