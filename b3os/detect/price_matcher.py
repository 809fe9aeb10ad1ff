"""Price triggers over the compiled price index: rows in, ticks in, matches out. Pure.

A trigger that fired is *latched* until the price has gone back by its hysteresis. A row that says the same again, such
as a new version of a workflow whose trigger did not change, leaves that state alone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from b3os._speedups.price_index import PriceIndex
from b3os.detect.prices import PriceWatch, parse_price_watch
from b3os.errors import BadInput


class Row(Protocol):
    """A trigger as the store gives it."""

    @property
    def payload(self) -> dict[str, Any]: ...


RowT = TypeVar("RowT", bound=Row)


class PriceTick(msgspec.Struct, frozen=True):
    """One price of an asset, scaled by 10**18; when its source made it, and the one before it (nanoseconds of 1970)."""

    asset: str
    price: int
    at_ns: int = 0
    before_ns: int = 0


class PriceMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A tick that satisfies a trigger."""

    slot: int
    row: RowT
    watch: PriceWatch
    tick: PriceTick


class PriceMatcher(Generic[RowT]):
    """Thresholds by slot, which the caller chose; `row_of` gives the row of a slot."""

    def __init__(self, row_of: Callable[[int], RowT | None]) -> None:
        self._index = PriceIndex()
        self._row_of = row_of

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, slot: int) -> bool:
        return slot in self._index

    def put(self, slot: int, payload: dict[str, Any]) -> None:
        """Add or replace a trigger; raises BadInput for a payload that cannot be read, and then it is gone."""
        try:
            watch = parse_price_watch(payload)
        except BadInput:
            self._index.drop(slot)
            raise
        if not self._index.has(slot, *watch.threshold):
            self._index.put(slot, *watch.threshold)

    def latch(self, slot: int) -> None:
        """Say that a trigger has fired and waits for the price to come back."""
        self._index.latch(slot)

    def is_latched(self, slot: int) -> bool:
        """Whether a trigger has fired and waits for the price to come back."""
        return self._index.is_latched(slot)

    def drop(self, slot: int) -> bool:
        """Remove a trigger; False when it is not there."""
        return self._index.drop(slot)

    def assets(self) -> list[str]:
        """Return the assets that some trigger watches."""
        return self._index.watched()

    def previous(self) -> dict[str, int]:
        """Return the last price of every watched asset that has had one."""
        found = {asset: self._index.previous(asset) for asset in self._index.watched()}
        return {asset: price for asset, price in found.items() if price is not None}

    def restore(self, previous: dict[str, int], latched: Iterable[int]) -> None:
        """Put back what another owner stored: last prices, and which triggers had fired; all others are armed."""
        self._index.reset()
        for asset, price in previous.items():
            self._index.set_previous(asset, price)
        for slot in latched:
            self.latch(slot)

    def match(self, ticks: Sequence[PriceTick]) -> tuple[list[PriceMatch[RowT]], list[RowT]]:
        """Take ticks in order; returns the matches in order, and the rows of triggers that could fire again meanwhile.

        A trigger may be in both, and fire and come back more than once: `is_latched` says how it ended.
        """
        hits, rearmed = self._index.match([(tick.asset, tick.price) for tick in ticks])
        found = [PriceMatch(slot, *self._held(slot), ticks[number]) for number, slot in hits]
        return found, [self._held(slot)[0] for _, slot in rearmed]

    def _held(self, slot: int) -> tuple[RowT, PriceWatch]:
        row = self._row_of(slot)
        assert row is not None, "the index and the rows change together"
        return row, parse_price_watch(row.payload)
