"""Conditions of `if` and `filter`: operators over typed values. Pure; total: a wrong operator is a BadInput.

Numbers and numeric strings compare as numbers, exactly (Decimal): amounts are strings of up to 78 digits.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from b3os.errors import BadInput


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _equal(left: Any, right: Any) -> bool:
    a, b = _number(left), _number(right)
    if a is not None and b is not None:
        return a == b
    return type(left) is type(right) and bool(left == right)


def _order(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        a, b = _number(left), _number(right)
        if a is not None and b is not None:
            return test(a, b)
        return isinstance(left, str) and isinstance(right, str) and test(left, right)

    return compare


def _contains(left: Any, right: Any) -> bool:
    if isinstance(left, str):
        return str(right) in left
    if isinstance(left, list):
        return any(_equal(item, right) for item in left)
    return isinstance(left, dict) and right in left


def _among(left: Any, right: Any) -> bool:
    return isinstance(right, list) and any(_equal(left, item) for item in right)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda a, b: not _equal(a, b),
    "$gt": _order(lambda a, b: a > b),
    "$gte": _order(lambda a, b: a >= b),
    "$lt": _order(lambda a, b: a < b),
    "$lte": _order(lambda a, b: a <= b),
    "$in": _among,
    "$nin": lambda a, b: not _among(a, b),
    "$notIn": lambda a, b: not _among(a, b),
    "$contains": _contains,
    "$notContains": lambda a, b: not _contains(a, b),
    "$startsWith": lambda a, b: isinstance(a, str) and a.startswith(str(b)),
    "$endsWith": lambda a, b: isinstance(a, str) and a.endswith(str(b)),
    "$exists": lambda a, b: (a is not None) == (b is not False),
    "$notExists": lambda a, b: (a is None) == (b is not False),
}


def field_of(item: Any, path: str) -> Any:
    """Follow a dotted path; None where it leads nowhere."""
    for segment in path.split("."):
        if isinstance(item, dict):
            item = item.get(segment)
        elif isinstance(item, list) and segment.isdigit() and int(segment) < len(item):
            item = item[int(segment)]
        else:
            return None
    return item


def holds(condition: Any, item: Any = None) -> bool:
    """Say whether a rendered condition holds; plain keys are fields of `item`, or literals when there is none."""
    if isinstance(condition, list):
        return all(holds(part, item) for part in condition)
    if not isinstance(condition, dict):
        raise BadInput('a condition is an object such as {"$and": [{"{{n.result.x}}": {"$gt": 1}}]}', code=400310)
    if "$left" in condition:
        return _test(condition["$left"], condition.get("$test"))
    return all(_holds_key(key, value, item) for key, value in condition.items())


def _holds_key(key: str, value: Any, item: Any) -> bool:
    if key == "$and":
        return all(holds(part, item) for part in _list(value))
    if key == "$or":
        return any(holds(part, item) for part in _list(value))
    if key == "$not":
        return not holds(value, item)
    if key in OPERATORS:
        pair = _list(value)
        if len(pair) != 2:
            raise BadInput(f"{key} takes [left, right]", code=400310)
        left = pair[0]
        if item is not None and isinstance(left, str) and left.startswith("{{@") and left.endswith("}}"):
            left = field_of(item, left[3:-2].strip())
        return OPERATORS[key](left, pair[1])
    return _test(key if item is None else field_of(item, key), value)


def _test(left: Any, test: Any) -> bool:
    if not isinstance(test, dict):
        return _equal(left, test)
    for operator, right in test.items():
        if operator not in OPERATORS:
            raise BadInput(f"unknown operator {operator}: use one of {', '.join(OPERATORS)}", code=400310)
        if not OPERATORS[operator](left, right):
            return False
    return True


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput("$and, $or and binary operators take a list", code=400310)
    return value
