"""Price triggers as watches: payloads of both generations to exact thresholds, ticks to results. Pure.

Prices are integers scaled by 10**18. A JSON number is taken as the decimal that it is written as (0.1 is one tenth); a
string may have all 18 places. What does not fit exactly is refused, never rounded.
"""

import re
from decimal import Decimal
from typing import Any

import msgspec

from b3os._speedups.price_index import ABOVE, BELOW, CROSS_DOWN, CROSS_UP, EQUAL, LIMIT
from b3os.abi.units import units
from b3os.errors import BadInput

PRICE_TYPE = "token-price-cexes"
PLACES = 18
UNIT: int = 10**PLACES
#: What each operation asks of a price p, the one before it q, and the target.
OPERATIONS = {
    "cross-up": CROSS_UP,  # q < target <= p
    "cross-down": CROSS_DOWN,  # q > target >= p
    "above": ABOVE,  # p > target, and it was not so before
    "below": BELOW,  # p < target, and it was not so before
    "equal": EQUAL,  # p = target, and it was not so before
}

_ASSET = re.compile(r"[A-Z0-9][A-Z0-9._]{0,63}")
_DECIMAL = re.compile(r"-?[0-9]{1,64}(\.[0-9]{1,64})?([eE][+-]?[0-9]{1,3})?")


class PriceWatch(msgspec.Struct, frozen=True):
    """What one price trigger looks for; target and hysteresis scaled by 10**18."""

    asset: str
    operation: int
    target: int
    hysteresis: int = 0
    max_triggers: int | None = None

    @property
    def threshold(self) -> tuple[str, int, int, int]:
        """What the index holds of it."""
        return (self.asset, self.operation, self.target, self.hysteresis)

    @property
    def is_crossing(self) -> bool:
        """Whether it compares with the price before."""
        return self.operation in (CROSS_UP, CROSS_DOWN)


def parse_price_watch(payload: dict[str, Any]) -> PriceWatch:
    """Read the payload of a price trigger, whatever generation wrote it; raises BadInput that names the field."""
    return PriceWatch(
        asset=parse_asset(payload.get("asset")),
        operation=_operation(payload),
        target=parse_price(_first(payload, "targetPrice", "threshold"), "targetPrice"),
        hysteresis=_hysteresis(payload.get("hysteresis")),
        max_triggers=_max_triggers(payload.get("maxTriggers")),
    )


def _first(payload: dict[str, Any], *names: str) -> Any:
    return next((payload[name] for name in names if payload.get(name) not in (None, "")), None)


def parse_asset(value: Any) -> str:
    """Read the name of an asset: BTCUSD, btc/usd and BTC are the same."""
    name = re.sub(r"[\s/-]", "", value).upper() if isinstance(value, str) else ""
    if not _ASSET.fullmatch(name):
        raise BadInput("`asset` is a pair of the price feed, such as BTCUSD", code=400345)
    # No pair is this short; the product's own examples name the token alone.
    return f"{name}USD" if len(name) <= 5 and "USD" not in name else name


def parse_price(value: Any, field: str) -> int:
    """Read a decimal exactly, scaled by 10**18; raises BadInput for what is none, too large or too fine."""
    text = repr(value) if isinstance(value, float | int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text := text.strip()):
        raise BadInput(f"`{field}` is a number such as 64210.5, not {_shown(value)}", code=400346)
    number = Decimal(text)
    sign, digits, exponent = number.as_tuple()
    if not any(digits):
        return 0
    assert isinstance(exponent, int), "the pattern lets no NaN or infinity through"
    if number.adjusted() > 20:  # before 10**exponent is made
        raise BadInput(f"`{field}` is at most 10**19 either way: {_shown(value)} is no price", code=400346)
    # The pattern bounds the exponent, so neither power is large.
    scaled, rest = divmod(int("".join(map(str, digits))) * _ten(exponent + PLACES), _ten(-exponent - PLACES))
    if rest:
        raise BadInput(f"`{field}` has at most {PLACES} decimal places, {_shown(value)} has more", code=400346)
    if scaled > LIMIT:
        raise BadInput(f"`{field}` is at most 10**19 either way: {_shown(value)} is no price", code=400346)
    return -scaled if sign else scaled


def _ten(exponent: int) -> int:
    """Return a power of ten; 1 for a negative exponent."""
    power: int = 10 ** max(exponent, 0)
    return power


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _operation(payload: dict[str, Any]) -> int:
    value = _first(payload, "operation", "condition")
    if not isinstance(value, str) or value not in OPERATIONS:
        raise BadInput(f"`operation` is one of {', '.join(OPERATIONS)}, not {_shown(value)}", code=400347)
    return OPERATIONS[value]


def _hysteresis(value: Any) -> int:
    if value in (None, ""):
        return 0
    found = parse_price(value, "hysteresis")
    if found < 0:
        raise BadInput("`hysteresis` is a distance of 0 or more: how far the price goes back first", code=400346)
    return found


def _max_triggers(value: Any) -> int | None:
    """Read a run limit, which the product writes as a string; none, empty or `unlimited` is no limit."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "unlimited")):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}\s*", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**53:
        raise BadInput("`maxTriggers` is a whole number of 1 or more, or `unlimited`", code=400348)
    return value


def price_number(price: int) -> float:
    """Return a scaled price as the JSON number of a result: the nearest double."""
    return price / UNIT


def price_text(price: int) -> str:
    """Return a scaled price as an exact decimal."""
    return f"-{units(-price, PLACES)}" if price < 0 else units(price, PLACES)
