"""The price index as plain Python: every threshold is asked at every tick."""

from collections.abc import Sequence

from b3os._speedups.price_index import ABOVE, BELOW, CROSS_DOWN, CROSS_UP, EQUAL


class ThresholdModel:
    """One threshold and whether it waits for the price to come back."""

    def __init__(self, asset: str, operation: int, level: int, slack: int) -> None:
        self.asset, self.operation, self.level, self.slack = asset, operation, level, slack
        self.is_latched = False

    @property
    def needs_latch(self) -> bool:
        return self.operation in (ABOVE, BELOW, EQUAL) or self.slack > 0

    def has_come_back(self, price: int) -> bool:
        if self.operation in (CROSS_UP, ABOVE):
            return price <= self.level - self.slack
        if self.operation in (CROSS_DOWN, BELOW):
            return price >= self.level + self.slack
        return abs(price - self.level) >= max(self.slack, 1)

    def holds(self, previous: int | None, price: int) -> bool:
        if self.operation == ABOVE:
            return price > self.level
        if self.operation == BELOW:
            return price < self.level
        if self.operation == EQUAL:
            return price == self.level
        if previous is None:
            return False
        if self.operation == CROSS_UP:
            return previous < self.level <= price
        return price <= self.level < previous


class PriceIndexModel:
    """Thresholds by slot, and the last price of every watched asset."""

    def __init__(self) -> None:
        self.thresholds: dict[int, ThresholdModel] = {}
        self.prices: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.thresholds)

    def put(self, slot: int, asset: str, operation: int, level: int, slack: int = 0) -> None:
        self.thresholds[slot] = ThresholdModel(asset, operation, level, slack)
        self._forget()

    def drop(self, slot: int) -> bool:
        found = self.thresholds.pop(slot, None) is not None
        self._forget()
        return found

    def _forget(self) -> None:
        self.prices = {asset: price for asset, price in self.prices.items() if asset in self.watched()}

    def latch(self, slot: int) -> bool:
        if slot not in self.thresholds:
            return False
        self.thresholds[slot].is_latched = self.thresholds[slot].needs_latch
        return True

    def is_latched(self, slot: int) -> bool:
        return slot in self.thresholds and self.thresholds[slot].is_latched

    def watched(self) -> list[str]:
        return list({one.asset: None for one in self.thresholds.values()})

    def previous(self, asset: str) -> int | None:
        return self.prices.get(asset)

    def set_previous(self, asset: str, price: int | None) -> None:
        self.prices.pop(asset, None)
        if price is not None and asset in self.watched():
            self.prices[asset] = price

    def reset(self) -> None:
        self.prices = {}
        for one in self.thresholds.values():
            one.is_latched = False

    def match(self, ticks: Sequence[tuple[str, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        hits, rearmed = [], []
        for number, (asset, price) in enumerate(ticks):
            for slot, one in self.thresholds.items():
                if one.asset != asset:
                    continue
                if one.is_latched and one.has_come_back(price):
                    one.is_latched = False
                    rearmed.append((number, slot))
                if not one.is_latched and one.holds(self.prices.get(asset), price):
                    one.is_latched = one.needs_latch
                    hits.append((number, slot))
            self.set_previous(asset, price)
        return hits, rearmed
