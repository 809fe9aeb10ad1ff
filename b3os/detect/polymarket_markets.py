"""Markets as Gamma lists them: what is known of one, whom it concerns when new or closed, and that result. Pure."""

import datetime
import re
from typing import Any

import msgspec

from b3os.detect.polymarket import (
    ANY,
    MARKET_CLOSE,
    NEW_MARKET,
    MarketWatch,
    has_keyword,
    is_condition,
    polymarket_key,
)

#: What closed is told by, and what new is, in the answers of Gamma.
CREATED, CLOSED = "createdAt", "closedTime"
#: How far ahead of our clock a market may have been made.
AHEAD_MS = 3600 * 1000

_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?(?:Z|\+00(?::?00)?)?")


class Market(msgspec.Struct, frozen=True):
    """One market; times in milliseconds of 1970, 0 where they are not told."""

    condition: str
    slug: str
    row: dict[str, Any]
    created_ms: int = 0
    closed_ms: int = 0
    is_closed: bool = False
    tokens: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()

    def at_ms(self, kind: str) -> int:
        """Return when it became what a trigger type tells of."""
        return self.created_ms if kind == NEW_MARKET else self.closed_ms

    def is_news(self, kind: str) -> bool:
        """Whether it is what a trigger type tells of: there, or closed."""
        return kind == NEW_MARKET or self.is_closed

    @property
    def winner(self) -> str | None:
        """The outcome that pays, where one does."""
        prices = _inner_list(self.row.get("outcomePrices"))
        paid = [name for name, price in zip(self.outcomes, prices, strict=False) if price in ("1", 1)]
        return paid[0] if self.is_closed and len(paid) == 1 else None


def market_of(row: Any, now_ms: int) -> Market | None:
    """Read a market; None for what is none."""
    if not isinstance(row, dict):
        return None
    condition, slug = row.get("conditionId"), row.get("slug")
    if not isinstance(condition, str) or not is_condition(condition.lower()):
        return None
    created_ms, closed_ms = time_ms(row.get(CREATED)), time_ms(row.get(CLOSED))
    if max(created_ms, closed_ms) > now_ms + AHEAD_MS:
        return None
    return Market(
        condition.lower(), slug.lower() if isinstance(slug, str) else "", row, created_ms, closed_ms,
        row.get("closed") is True, _texts(row.get("clobTokenIds")), _texts(row.get("outcomes")),
    )  # fmt: skip


def time_ms(value: Any) -> int:
    """Read a time of Gamma, which writes it in two ways; 0 for what is none."""
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return 0
    try:
        moment = datetime.datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00")
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1000 + int(float(found[3] or "0") * 1000)


def _inner_list(value: Any) -> list[Any]:
    """Read a list that Gamma writes as JSON inside a text."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return []
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(one for one in _inner_list(value) if isinstance(one, str))


def keys_of(kind: str, market: Market) -> list[bytes]:
    """Return the keys under which the triggers are that a market concerns."""
    return [polymarket_key(kind, name) for name in (ANY, market.condition, market.slug) if name]


def is_wanted(watch: MarketWatch, market: Market) -> bool:
    """Whether a market passes the filters of a trigger that it concerns."""
    return has_keyword(watch.keywords, _said(market))


def _said(market: Market) -> tuple[str, ...]:
    events = market.row.get("events")
    first = events[0] if isinstance(events, list) and events and isinstance(events[0], dict) else {}
    found = [market.row.get(name) for name in ("question", "slug", "description")]
    return tuple(one for one in [*found, first.get("title"), first.get("slug")] if isinstance(one, str))


def market_result(kind: str, market: Market, triggered_at: str) -> dict[str, Any]:
    """Make what a run sees of a market: its main fields, plain, and the row as Gamma gave it."""
    row = market.row
    names = ("id", "question", "slug", "description", "endDate", "createdAt")
    about = {name: row.get(name) for name in names}
    about |= {"conditionId": market.condition, "outcomes": list(market.outcomes), "tokenIds": list(market.tokens)}
    if kind == MARKET_CLOSE:
        about |= {"closedTime": row.get(CLOSED), "winner": market.winner}
    return {"market": about, "event": row, "triggeredAt": triggered_at}
