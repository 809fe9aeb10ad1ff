"""Samples of Polymarket: a trade and a market, as the service gives them, made into results. Pure."""

from decimal import Decimal
from typing import Any

from b3os.detect.polymarket import MARKET_CLOSE, MarketWatch, TradeWatch, is_address, is_condition
from b3os.detect.polymarket_markets import Market, market_result
from b3os.detect.polymarket_trades import Trade, trade_result

_NOWHERE, _NOBODY = "0x" + "00" * 32, "0x" + "b0" * 20
_TOKENS = ("1" * 77, "2" * 77)
_OUTCOMES = ("Yes", "No")


def sample_of_polymarket(watch: TradeWatch | MarketWatch, now_s: int, triggered_at: str) -> dict[str, Any]:
    """Return what a workflow gets of a trade that passes the filters, or of a market."""
    if isinstance(watch, MarketWatch):
        return market_result(watch.type, _market(watch, now_s), triggered_at)
    return trade_result(watch.type, _trade(watch, now_s), triggered_at)


def _names(ref: str, keywords: tuple[str, ...]) -> tuple[str, str, str]:
    """Return condition id, slug and question of a market that is named so."""
    condition = ref if is_condition(ref) else _NOWHERE
    slug = ref if ref and not is_condition(ref) else "sample-market"
    return condition, slug, f"Will {keywords[0] if keywords else 'this'} happen?"


def _trade(watch: TradeWatch, now_s: int) -> Trade:
    is_of_market = not watch.type.endswith("bet")
    named = watch.ref if is_of_market else next(iter(sorted(watch.markets)), "")
    condition, slug, title = _names(named, watch.keywords)
    price = watch.min_price or min(watch.max_price or Decimal(1), Decimal("0.5"))
    least = watch.min_size or Decimal(10)
    size = least if is_of_market or not price else max(least / price, least)
    user = watch.ref if not is_of_market and is_address(watch.ref) else _NOBODY
    row: dict[str, Any] = {
        "proxyWallet": user, "side": watch.side.upper() or "BUY", "asset": _TOKENS[0], "conditionId": condition,
        "size": float(size), "price": float(price), "timestamp": now_s, "title": title, "slug": slug, "icon": "",
        "eventSlug": f"{slug}-event", "outcome": watch.outcome.capitalize() or _OUTCOMES[0], "outcomeIndex": 0,
        "name": "sample" if is_of_market or is_address(watch.ref) else watch.ref, "pseudonym": "Quiet-Sample",
        "bio": "", "profileImage": "", "profileImageOptimized": "", "transactionHash": _NOWHERE,
    }  # fmt: skip
    return Trade(_NOWHERE, user, condition, _TOKENS[0], row["side"], size, price, now_s, row)


def _market(watch: MarketWatch, now_s: int) -> Market:
    condition, slug, question = _names(watch.ref, watch.keywords)
    is_closed = watch.type == MARKET_CLOSE
    row: dict[str, Any] = {
        "id": "0", "question": question, "conditionId": condition, "slug": slug, "description": "A sample.",
        "outcomes": '["Yes", "No"]', "outcomePrices": '["1", "0"]' if is_closed else '["0.5", "0.5"]',
        "clobTokenIds": f'["{_TOKENS[0]}", "{_TOKENS[1]}"]', "active": True, "closed": is_closed,
        "endDate": "2030-01-01T00:00:00Z", "createdAt": "2026-01-01T00:00:00Z",
        **({"closedTime": "2026-01-02 00:00:00+00"} if is_closed else {}),
        "events": [{"id": "0", "slug": f"{slug}-event", "title": question}],
    }  # fmt: skip
    return Market(condition, slug, row, now_s * 1000, now_s * 1000, is_closed, _TOKENS, _OUTCOMES)
