"""convert-to-wei and convert-from-wei: string arithmetic, so that no digit is ever lost. Pure."""

from typing import Any

from b3os.errors import BadInput

DECIMALS_LIMIT = 77
#: A uint256 has 78 digits; a fraction as many again.
DIGITS_LIMIT = 200


def _decimals(payload: dict[str, Any]) -> int:
    raw = payload.get("decimals", 18)
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 4:
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= DECIMALS_LIMIT:
        raise BadInput(f"`decimals` is a whole number from 0 to {DECIMALS_LIMIT}", code=400313)
    return raw


def _digits(payload: dict[str, Any], name: str) -> tuple[str, str]:
    """Return sign and digits of an amount; a float has lost its digits already, unless it is whole and small."""
    value = payload.get(name)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadInput(f"`{name}` is missing: give the amount as a string", code=400313)
    text = str(value).strip() if not isinstance(value, int) or abs(value) < 10**DIGITS_LIMIT else ""
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text.removeprefix("+"))
    if len(digits) > DIGITS_LIMIT:
        raise BadInput(f"`{name}` has more than {DIGITS_LIMIT} digits", code=400313)
    return sign, digits


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def run_to_wei(payload: dict[str, Any]) -> dict[str, Any]:
    """Turn a decimal amount into base units; refuses digits below one unit."""
    decimals, (sign, digits) = _decimals(payload), _digits(payload, "value")
    whole, _, fraction = digits.partition(".")
    if not _is_number(whole + fraction):
        raise BadInput(f"`value` {digits!r} is not a decimal number", code=400313)
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals:
        raise BadInput(f"`value` {digits!r} has more than {decimals} decimals", code=400313)
    units = int((whole or "0") + fraction.ljust(decimals, "0"))
    return {"wei": f"{sign if units else ''}{units}"}


def run_from_wei(payload: dict[str, Any]) -> dict[str, Any]:
    """Turn base units into a decimal amount, trailing zeros trimmed."""
    decimals, (sign, digits) = _decimals(payload), _digits(payload, "wei")
    if not _is_number(digits):
        raise BadInput(f"`wei` {digits!r} is not a whole number", code=400313)
    padded = digits.lstrip("0").rjust(decimals + 1, "0")
    whole, fraction = (padded[:-decimals], padded[-decimals:].rstrip("0")) if decimals else (padded, "")
    is_zero = whole == "0" and not fraction
    return {"value": f"{'' if is_zero else sign}{whole}{'.' + fraction if fraction else ''}"}
