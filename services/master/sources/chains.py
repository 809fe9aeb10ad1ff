"""The configured chains as two families of sources: what happens in their blocks, and the state that they hold."""

from collections.abc import Collection, Iterable

from b3os.chain.chains import Chain
from b3os.chain.rpc import HttpClient, Rpc
from b3os.detect.evm import EVM_TYPES
from b3os.detect.matcher import Matcher
from b3os.detect.thresholds import STATE_TYPES, parse_state_watch
from b3os.errors import BadInput
from b3os.store.triggers import TriggerRow
from services.master.chain.book import Book
from services.master.sources.chain import ChainSource
from services.master.sources.thresholds import ThresholdSource
from services.master.table import Table
from services.master.thresholds.book import EdgeBook


class Chains:
    """Triggers that listen to the blocks of a chain."""

    types = EVM_TYPES

    def __init__(self, chains: Iterable[Chain], *, http: HttpClient, table: Table, book: Book) -> None:
        self.matcher: Matcher[TriggerRow] = Matcher(table.index, table.row, table.refuse_row)
        self._sources = [
            ChainSource(Rpc(chain, http), table=table, matcher=self.matcher, book=book) for chain in chains
        ]

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger that has no pattern; raises BadInput."""
        self.matcher.put(slot, row)

    def drop(self, slot: int) -> None:
        """Nothing is held here: the index has it all."""

    def wanted(self) -> Collection[ChainSource]:
        """Return the sources of chains that some trigger listens to."""
        return [source for source in self._sources if source.is_wanted]


class Thresholds:
    """Triggers on the state of a chain."""

    types = STATE_TYPES

    def __init__(self, chains: Iterable[Chain], *, http: HttpClient, book: EdgeBook) -> None:
        self._sources = {chain.id: ThresholdSource(Rpc(chain, http), book=book) for chain in chains}

    def put(self, slot: int, row: TriggerRow) -> None:
        """Add or replace a trigger; raises BadInput."""
        watch = parse_state_watch(row.type, row.payload)
        wanted = self._sources.get(watch.chain_id)
        for source in self._sources.values():
            if source is not wanted:
                source.holding.drop(slot)
        if wanted is None:
            raise BadInput(f"chain {watch.chain_id} is not configured: add it to B3OS_CHAINS", code=400337)
        wanted.holding.put(slot, row, watch)

    def drop(self, slot: int) -> None:
        """Forget a trigger, if it is there."""
        for source in self._sources.values():
            source.holding.drop(slot)

    def wanted(self) -> Collection[ThresholdSource]:
        """Return the sources of chains on whose state some trigger is."""
        return [source for source in self._sources.values() if len(source.holding)]
