"""Built-ins over lists: filter, pluck, list-max, list-min. Pure, and linear in the length of the list."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from b3os.errors import BadInput
from b3os.run.builtins.payloads import a_list
from b3os.workflow.conditions import compile_condition, field_of, number


def run_filter(payload: dict[str, Any]) -> dict[str, Any]:
    """Keep the items for which the condition holds."""
    test = compile_condition(payload.get("filter", payload.get("condition")), of_item=True)
    return {"filtered": [item for item in a_list(payload, "array") if test(item)]}


def run_pluck(payload: dict[str, Any]) -> dict[str, Any]:
    """Take one field of each item, or an object of several."""
    fields = payload.get("field", payload.get("fields"))
    items = a_list(payload, "array")
    if isinstance(fields, str):
        return {"values": [field_of(item, fields) for item in items]}
    if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
        raise BadInput("`field` is a name or a list of names", code=400311)
    return {"values": [{field: field_of(item, field) for field in fields} for item in items]}


def run_max(payload: dict[str, Any]) -> dict[str, Any]:
    """Find the first of the largest items, by a field if one is given."""
    return _extreme(payload, max)


def run_min(payload: dict[str, Any]) -> dict[str, Any]:
    """Find the first of the smallest items, by a field if one is given."""
    return _extreme(payload, min)


def _extreme(payload: dict[str, Any], choose: Callable[..., int]) -> dict[str, Any]:
    items, field = a_list(payload, "list", "array", "values"), payload.get("field")
    if not items:
        return {"item": None, "value": None, "index": None}
    values = [field_of(item, str(field)) if field else item for item in items]
    sizes: list[Decimal] = []
    for index, value in enumerate(values):
        size = number(value)
        if size is None:
            raise BadInput(f"item {index} is not a number: {str(value)[:100]!r}", code=400313)
        sizes.append(size)
    best = choose(range(len(sizes)), key=sizes.__getitem__)
    return {"item": items[best], "value": values[best], "index": best}
