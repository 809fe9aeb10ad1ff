"""Trades as the Data API lists them: rows to trades, what makes each single, filters, and a trade's result. Pure.

A row that cannot be read (no number, a price above 1, a time in the future) is passed over and spoils no other. One
transaction may fill several orders, of one user too, and even alike in all that a row says; so trades that are alike
are counted. The caller brings all rows of a second together, so that the count does not depend on where a page ended.
"""

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from b3os.detect.polymarket import MARKET_TRADE, TradeWatch, has_keyword, number_of, seconds_of
from b3os.detect.polymarket_answers import list_of

#: How far ahead of our clock a trade may be.
AHEAD_S = 3600

_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_TOKEN = re.compile(r"[0-9]{1,80}")
#: Digits that an amount has on the chain; what more a row shows is left from a division.
_PLACES = Decimal("0.000001")


class Trade(msgspec.Struct, frozen=True):
    """One fill: who traded what, and the row itself. `size` is in shares, `at_s` in seconds of 1970."""

    tx: str
    user: str
    market: str
    asset: str
    side: str
    size: Decimal
    price: Decimal
    at_s: int
    row: dict[str, Any]

    @property
    def value(self) -> Decimal:
        """What was paid, in US dollars."""
        return self.size * self.price

    def text(self, field: str) -> str:
        """Return a text of the row; empty where it has none."""
        found = self.row.get(field)
        return found if isinstance(found, str) else ""


def read_rows(body: bytes, now_s: int) -> list[Trade | None]:
    """Read an answer in its order, None for a row that makes no sense; raises BadInput when it is no list."""
    return [trade_of(row, now_s) for row in list_of(body)]


def trade_of(row: Any, now_s: int) -> Trade | None:
    """Read one row; None for what is no trade."""
    if not isinstance(row, dict):
        return None
    tx, user, market, asset = (_lower(row, name) for name in ("transactionHash", "proxyWallet", "conditionId", "asset"))
    size, price, side = number_of(row.get("size")), number_of(row.get("price")), row.get("side")
    at_s = seconds_of(row.get("timestamp"))
    is_named = _HASH.fullmatch(tx) and _ADDRESS.fullmatch(user) and _HASH.fullmatch(market) and _TOKEN.fullmatch(asset)
    if not is_named or side not in ("BUY", "SELL") or size is None or price is None or price > 1:
        return None
    if not 0 < at_s <= now_s + AHEAD_S:
        return None
    return Trade(tx, user, market, asset, side, size, price, at_s, row)


def _lower(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    return value.lower() if isinstance(value, str) else ""


def numbered(trades: Iterable[Trade]) -> list[tuple[str, Trade]]:
    """Give each trade its identity; those that are alike in everything are numbered."""
    seen: Counter[str] = Counter()
    found = []
    for trade in trades:
        size, price = trade.size.quantize(_PLACES).normalize(), trade.price.quantize(_PLACES).normalize()
        alike = f"{trade.tx}:{trade.user}:{trade.asset}:{trade.side}:{size:f}:{price:f}"
        found.append((f"{alike}:{seen[alike]}", trade))
        seen[alike] += 1
    return found


def is_wanted(watch: TradeWatch, trade: Trade) -> bool:
    """Whether a trade of the watched market or user passes the filters."""
    amount = trade.size if watch.type == MARKET_TRADE else trade.value
    if (watch.side and trade.side != watch.side) or (watch.min_size is not None and amount < watch.min_size):
        return False
    if watch.outcome and trade.text("outcome").casefold() != watch.outcome:
        return False
    if watch.markets and not watch.markets & {trade.market, trade.text("slug").lower()}:
        return False
    if (watch.min_price is not None and trade.price < watch.min_price) or (
        watch.max_price is not None and trade.price > watch.max_price
    ):
        return False
    return has_keyword(watch.keywords, tuple(trade.text(name) for name in ("title", "slug", "eventSlug", "outcome")))


def trade_result(kind: str, trade: Trade, triggered_at: str) -> dict[str, Any]:
    """Make what a run sees of a trade: the row, what was paid, and for a market's trade the market."""
    result: dict[str, Any] = {
        "trade": {**trade.row, "usdcSize": float(trade.value)},
        "triggeredAt": triggered_at,
    }
    if kind == MARKET_TRADE:
        names = ("conditionId", "slug", "title", "eventSlug", "icon")
        result["market"] = {name: trade.row.get(name) for name in names}
    return result
