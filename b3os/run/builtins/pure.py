"""Built-in nodes that only compute: payload in, result out. A crash replays them to the same result."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import re2

from b3os._speedups.expression import render_local
from b3os.errors import BadInput
from b3os.run.conditions import field_of, holds

PATTERN_LIMIT = 1024
REGEX_MEMORY = 8 << 20
DECIMALS_LIMIT = 77


def _list(payload: dict[str, Any], key: str) -> list[Any]:
    value = payload.get(key)
    if not isinstance(value, list):
        raise BadInput(f"`{key}` is not a list: it is {type(value).__name__}. Check the expression.", code=400311)
    return value


def run_if(payload: dict[str, Any]) -> dict[str, Any]:
    """Choose the arm `then` or `else`."""
    return {"branch": "then" if holds(payload.get("condition")) else "else"}


def run_filter(payload: dict[str, Any]) -> dict[str, Any]:
    """Keep the items for which the condition holds."""
    condition = payload.get("filter", payload.get("condition"))
    return {"filtered": [item for item in _list(payload, "array") if holds(condition, item)]}


def run_pluck(payload: dict[str, Any]) -> dict[str, Any]:
    """Take one field of each item, or an object of several."""
    fields = payload.get("field", payload.get("fields"))
    items = _list(payload, "array")
    if isinstance(fields, str):
        return {"values": [field_of(item, fields) for item in items]}
    if not isinstance(fields, list):
        raise BadInput("`field` is a name or a list of names", code=400311)
    return {"values": [{field: field_of(item, field) for field in fields} for item in items]}


def run_format(payload: dict[str, Any]) -> dict[str, Any]:
    """Render a template with {{@field}} once, or once per item joined by the separator."""
    data, template = payload.get("data"), str(payload.get("template", ""))
    if isinstance(data, list):
        separator = str(payload.get("separator", "\n"))
        return {"formatted": separator.join(render_local(template, item) for item in data)}
    return {"formatted": render_local(template, data)}


def run_regex(payload: dict[str, Any]) -> dict[str, Any]:
    """Match an RE2 pattern: linear time, no look-behind, no back-references."""
    text, pattern = str(payload.get("text", payload.get("input", ""))), str(payload.get("pattern", ""))
    if len(pattern) > PATTERN_LIMIT:
        raise BadInput(f"a pattern has at most {PATTERN_LIMIT} characters", code=400312)
    options = re2.Options()
    options.max_mem = REGEX_MEMORY
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        raise BadInput(f"the pattern is refused: {error}. See the RE2 syntax.", code=400312) from error
    found = [_groups(match) for match in compiled.finditer(text)] if payload.get("global") else None
    if found is not None:
        return {"matched": bool(found), "matches": found}
    match = compiled.search(text)
    return {"matched": match is not None, "matches": _groups(match) if match else {}}


def _groups(match: Any) -> dict[str, Any]:
    groups = {str(n): match.group(n) for n in range(len(match.groups()) + 1)}
    return {**groups, **match.groupdict()}


def _decimals(payload: dict[str, Any]) -> int:
    try:
        decimals = int(payload.get("decimals", 18))
    except (TypeError, ValueError):
        decimals = -1
    if not 0 <= decimals <= DECIMALS_LIMIT:
        raise BadInput(f"`decimals` is a whole number from 0 to {DECIMALS_LIMIT}", code=400313)
    return decimals


def run_to_wei(payload: dict[str, Any]) -> dict[str, Any]:
    """Turn a decimal amount into base units; refuses digits below one unit."""
    decimals, value = _decimals(payload), str(payload.get("value", "")).strip()
    sign, _, digits = ("-", "", value[1:]) if value.startswith("-") else ("", "", value)
    whole, _, fraction = digits.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        raise BadInput(f"`value` {value!r} is not a decimal number", code=400313)
    if len(fraction.rstrip("0")) > decimals:
        raise BadInput(f"`value` {value!r} has more than {decimals} decimals", code=400313)
    units = int((whole or "0") + fraction.rstrip("0").ljust(decimals, "0")[:decimals])
    return {"wei": f"{sign if units else ''}{units}"}


def run_from_wei(payload: dict[str, Any]) -> dict[str, Any]:
    """Turn base units into a decimal amount, trailing zeros trimmed."""
    decimals, wei = _decimals(payload), str(payload.get("wei", "")).strip()
    sign, digits = ("-", wei[1:]) if wei.startswith("-") else ("", wei)
    if not digits.isascii() or not digits.isdigit():
        raise BadInput(f"`wei` {wei!r} is not a whole number", code=400313)
    padded = digits.lstrip("0").rjust(decimals + 1, "0")
    whole, fraction = (padded[:-decimals], padded[-decimals:].rstrip("0")) if decimals else (padded, "")
    return {"value": f"{sign}{whole}{'.' + fraction if fraction else ''}"}


def _extreme(choose: Callable[..., Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def run(payload: dict[str, Any]) -> dict[str, Any]:
        """Find the largest or smallest item, by a field if one is given."""
        items, field = _list(payload, "list" if "list" in payload else "array"), payload.get("field")
        keyed = []
        for index, item in enumerate(items):
            value = field_of(item, str(field)) if field else item
            try:
                keyed.append((Decimal(str(value)), -index, item, value))
            except InvalidOperation:
                raise BadInput(f"item {index} is not a number: {value!r}", code=400313) from None
        if not keyed:
            return {"item": None, "value": None, "index": None}
        best = choose(keyed, key=lambda entry: entry[0])
        return {"item": best[2], "value": best[3], "index": -best[1]}

    return run


PURE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "if": run_if,
    "filter": run_filter,
    "pluck": run_pluck,
    "format": run_format,
    "regex": run_regex,
    "convert-to-wei": run_to_wei,
    "convert-from-wei": run_from_wei,
    "list-max": _extreme(max),
    "list-min": _extreme(min),
}
