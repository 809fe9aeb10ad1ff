"""Polymarket triggers as watches: payloads to what is listened to and what is filtered. Pure.

A market is named by its condition id or its slug, a user by an address or a name; both are what the service calls them
only once they were looked up. Sizes and prices are exact decimals: 0.1 is one tenth.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from b3os.detect.keys import exact_key
from b3os.errors import BadInput

MARKET_TRADE, USER_BET = "polymarket-market-trade", "polymarket-user-bet"
NEW_MARKET, MARKET_CLOSE = "polymarket-new-market", "polymarket-market-close"
TRADE_TYPES = frozenset({MARKET_TRADE, USER_BET})
POLYMARKET_TYPES = TRADE_TYPES | {NEW_MARKET, MARKET_CLOSE}
BAD_MARKET, BAD_USER, BAD_FILTER = 400395, 400396, 400397
#: Names in one list of a payload.
MOST_NAMES = 100
#: What stands for every market in a key.
ANY = "*"

_CONDITION = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_USER = re.compile(r"[^\s/?#&]{1,80}( [^\s/?#&]{1,80}){0,8}")
_NUMBER = re.compile(r"[0-9]{0,20}(\.[0-9]{1,18})?")


class TradeWatch(msgspec.Struct, frozen=True):
    """What one trigger on trades looks for. `ref` is the market, or the user, as the payload names it."""

    type: str
    ref: str
    side: str = ""
    outcome: str = ""
    #: Shares of a market's trade, US dollars of a user's.
    min_size: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    #: Condition ids and slugs; empty: any market.
    markets: frozenset[str] = frozenset()
    keywords: tuple[str, ...] = ()


class MarketWatch(msgspec.Struct, frozen=True):
    """What one trigger on new or closed markets looks for; an empty `ref` is any market."""

    type: str
    ref: str = ""
    keywords: tuple[str, ...] = ()


def parse_polymarket_watch(kind: str, payload: Mapping[str, Any]) -> TradeWatch | MarketWatch:
    """Read a trigger's payload; raises BadInput that names the field."""
    if kind in TRADE_TYPES:
        return parse_trade_watch(kind, payload)
    return parse_market_watch(kind, payload)


def parse_trade_watch(kind: str, payload: Mapping[str, Any]) -> TradeWatch:
    """Read the payload of a trigger on trades; raises BadInput that names the field."""
    if kind == MARKET_TRADE:
        return TradeWatch(
            kind, market_ref(payload.get("marketId")), side=_side(payload), outcome=_text(payload, "outcome"),
            min_size=_number(payload, "minSize"),
        )  # fmt: skip
    low, high = _number(payload, "minPrice", most=1), _number(payload, "maxPrice", most=1)
    if low is not None and high is not None and low > high:
        raise BadInput("`minPrice` is above `maxPrice`: nothing could match", code=BAD_FILTER)
    return TradeWatch(
        kind, _user(payload.get("user")), side=_side(payload), min_size=_number(payload, "minSize"),
        min_price=low, max_price=high, keywords=_names(payload, "keywords"),
        markets=frozenset(market_ref(one, "marketIds") for one in _names(payload, "marketIds")),
    )  # fmt: skip


def parse_market_watch(kind: str, payload: Mapping[str, Any]) -> MarketWatch:
    """Read the payload of a trigger on new or closed markets; raises BadInput that names the field."""
    named = payload.get("marketId") if kind == MARKET_CLOSE else None
    return MarketWatch(kind, "" if named in (None, "") else market_ref(named), _names(payload, "keywords"))


def market_ref(value: Any, field: str = "marketId") -> str:
    """Read the name of a market: a condition id or a slug."""
    found = value.strip().lower() if isinstance(value, str) else ""
    if not (_CONDITION.fullmatch(found) or (_SLUG.fullmatch(found) and not found.startswith("0x"))):
        raise BadInput(
            f"`{field}` is a condition id (0x and 64 hexadecimal digits) or the slug of a market", code=BAD_MARKET
        )
    return found


def is_condition(ref: str) -> bool:
    """Whether a market's name is a condition id."""
    return _CONDITION.fullmatch(ref) is not None


def is_address(ref: str) -> bool:
    """Whether a user's name is an address."""
    return _ADDRESS.fullmatch(ref) is not None


def polymarket_key(kind: str, name: str) -> bytes:
    """Return the key by which the index finds the triggers of a type on a market or a user."""
    return exact_key(kind, name)


def has_keyword(keywords: tuple[str, ...], texts: tuple[str, ...]) -> bool:
    """Whether any keyword is in any of the texts, whatever their case; with no keywords it is so."""
    return not keywords or any(word in text.casefold() for word in keywords for text in texts)


def _user(value: Any) -> str:
    found = value.strip() if isinstance(value, str) else ""
    found = found.removeprefix("@")
    if found[:2].lower() == "0x" and is_address(found.lower()):
        return found.lower()
    if not _USER.fullmatch(found) or (found[:2].lower() == "0x" and len(found) > 30):
        raise BadInput("`user` is an address (0x and 40 hexadecimal digits) or the name of a user", code=BAD_USER)
    return found.casefold()


def _side(payload: Mapping[str, Any]) -> str:
    found = _text(payload, "side").upper()
    if found not in ("", "BUY", "SELL"):
        raise BadInput("`side` is BUY or SELL, or absent for both", code=BAD_FILTER)
    return found


def _text(payload: Mapping[str, Any], field: str) -> str:
    value = payload.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 200:
        raise BadInput(f"`{field}` is a text of at most 200 characters", code=BAD_FILTER)
    return value.strip().casefold()


def _names(payload: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Read a list of texts, or one text with commas."""
    value = payload.get(field)
    parts = value.split(",") if isinstance(value, str) else [] if value is None else value
    if not isinstance(parts, list) or not all(isinstance(one, str) and len(one) <= 300 for one in parts):
        raise BadInput(f"`{field}` is a list of texts", code=BAD_FILTER)
    if len(parts) > MOST_NAMES:
        raise BadInput(f"`{field}` has at most {MOST_NAMES} entries", code=BAD_FILTER)
    return tuple(one.strip().casefold() for one in parts if one.strip())


def _number(payload: Mapping[str, Any], field: str, most: int | None = None) -> Decimal | None:
    value = payload.get(field)
    if value in (None, ""):
        return None
    found = number_of(value)
    if found is None or (most is not None and found > most):
        limit = "" if most is None else f" to {most}"
        raise BadInput(f"`{field}` is a number from 0{limit}, such as 0.5", code=BAD_FILTER)
    return found


def number_of(value: Any) -> Decimal | None:
    """Read a number that is not negative, also as text without its leading zero; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return Decimal(repr(value)) if 0 <= value < 10**20 else None  # NaN is not
    text = str(value).strip()
    return Decimal(text) if text not in ("", ".") and _NUMBER.fullmatch(text) else None


def seconds_of(value: Any) -> int:
    """Read a time in seconds, or in milliseconds, as the sockets write them; 0 for what is none."""
    found = number_of(value)
    if found is None or found < 10**9:
        return 0
    return int(found) // 1000 if found > 10**11 else int(found)
