"""Price triggers over the compiled price index: rows in, ticks in, matches out. Pure.

A trigger that fired is *latched* until the price has gone back by its hysteresis. A row that says the same again, such
as a new version of a workflow whose trigger did not change, leaves that state alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from b3os._speedups.price_index import PriceIndex
from b3os.detect.prices import PriceWatch, parse_price_watch
from b3os.errors import BadInput

RowT = TypeVar("RowT")
#: Workflow and node.
Key = tuple[str, str]


class PriceTick(msgspec.Struct, frozen=True):
    """One price of an asset, scaled by 10**18; when its source made it, and the one before it (nanoseconds of 1970)."""

    asset: str
    price: int
    at_ns: int = 0
    before_ns: int = 0


class PriceMatch(msgspec.Struct, Generic[RowT], frozen=True):
    """A tick that satisfies a trigger."""

    row: RowT
    watch: PriceWatch
    tick: PriceTick


class PriceMatcher(Generic[RowT]):
    """Price rows by slot of the index; slots are used again."""

    def __init__(self) -> None:
        self._index = PriceIndex()
        self._rows: list[tuple[Key, RowT, PriceWatch] | None] = []
        self._free: list[int] = []
        self._slots: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, key: Key, row: RowT, payload: dict[str, Any]) -> None:
        """Add or replace a trigger; raises BadInput for a payload that cannot be read, and then it is gone."""
        try:
            watch = parse_price_watch(payload)
        except BadInput:
            self.drop(key)
            raise
        slot = self._slots.get(key)
        if slot is None:
            slot = self._free.pop() if self._free else len(self._rows)
            if slot == len(self._rows):
                self._rows.append(None)
            self._slots[key] = slot
        held = self._rows[slot]
        self._rows[slot] = (key, row, watch)
        if held is None or held[2].threshold != watch.threshold:
            self._index.put(slot, *watch.threshold)

    def latch(self, key: Key) -> None:
        """Say that a trigger has fired and waits for the price to come back."""
        if key in self._slots:
            self._index.latch(self._slots[key])

    def is_latched(self, key: Key) -> bool:
        """Whether a trigger has fired and waits for the price to come back."""
        return key in self._slots and self._index.is_latched(self._slots[key])

    def drop(self, key: Key) -> bool:
        """Remove a trigger; False when it is not there."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return False
        self._index.drop(slot)
        self._rows[slot] = None
        self._free.append(slot)
        return True

    def rows(self) -> Iterable[tuple[RowT, PriceWatch]]:
        """Every trigger with what it watches."""
        return ((held[1], held[2]) for held in self._rows if held is not None)

    def assets(self) -> list[str]:
        """Return the assets that some trigger watches."""
        return self._index.watched()

    def previous(self) -> dict[str, int]:
        """Return the last price of every watched asset that has had one."""
        found = {asset: self._index.previous(asset) for asset in self._index.watched()}
        return {asset: price for asset, price in found.items() if price is not None}

    def restore(self, previous: dict[str, int], latched: Iterable[Key]) -> None:
        """Put back what another owner stored: last prices, and which triggers had fired; all others are armed."""
        self._index.reset()
        for asset, price in previous.items():
            self._index.set_previous(asset, price)
        for key in latched:
            self.latch(key)

    def match(self, ticks: Sequence[PriceTick]) -> tuple[list[PriceMatch[RowT]], list[RowT]]:
        """Take ticks in order; returns the matches in order, and the rows of triggers that could fire again meanwhile.

        A trigger may be in both, and fire and come back more than once: `is_latched` says how it ended.
        """
        hits, rearmed = self._index.match([(tick.asset, tick.price) for tick in ticks])
        found = [PriceMatch(row, watch, ticks[number]) for number, (_, row, watch) in self._held(hits)]
        return found, [row for _, (_, row, _) in self._held(rearmed)]

    def _held(self, found: list[tuple[int, int]]) -> Iterable[tuple[int, tuple[Key, RowT, PriceWatch]]]:
        for number, slot in found:
            held = self._rows[slot]
            assert held is not None, "the index and the rows change together"
            yield number, held
