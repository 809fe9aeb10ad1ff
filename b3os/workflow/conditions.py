"""Conditions of `if`, `filter` and triggers: operators over typed values. Pure; total: a wrong operator is a BadInput.

Numbers and numeric strings compare as numbers, exactly (Decimal): amounts are strings of up to 78 digits. A condition
is compiled once and tested per item, so that a filter of 100,000 items parses its right sides once, and `$in` looks
up in a set. Both generations are read: `{"{{left}}": {"$gt": right}}` and `{"$gt": [left, right]}`.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from b3os.errors import BadInput

#: Levels of $and, $or and $not; a payload as written has at most 64, one made of data could have any number.
MAX_DEPTH = 64
#: Longer digit strings are text: nothing that is counted on a chain has as many.
NUMBER_LENGTH = 400
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_canonical = msgspec.json.Encoder(order="sorted").encode

#: A right side, made ready: says of a left side whether it passes.
Check = Callable[[Any], bool]
#: A compiled condition: says whether it holds for an item (None where there is none).
Test = Callable[[Any], bool]


def number(value: Any) -> Decimal | None:
    """Read a number or a numeric string exactly; None for everything else."""
    if isinstance(value, str):
        text = value.strip() if len(value) <= NUMBER_LENGTH else ""
        return Decimal(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return found if found.is_finite() else None


def key_of(value: Any) -> tuple[str, Any]:
    """Return what two equal values have in common, and can be looked up: `"1.0"` and 1 are equal, `true` and 1 not."""
    found = number(value)
    if found is not None:
        return "number", found
    if value is None or isinstance(value, bool | str):
        return type(value).__name__, value
    try:
        return "json", _canonical(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "other", id(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _canonical(value).decode()


def _equal(right: Any) -> Check:
    key = key_of(right)
    return lambda left: key_of(left) == key


def _order(test: Callable[[Any, Any], bool]) -> Callable[[Any], Check]:
    def ready(right: Any) -> Check:
        limit = number(right)

        def check(left: Any) -> bool:
            found = number(left)
            if found is not None and limit is not None:
                return test(found, limit)
            return isinstance(left, str) and isinstance(right, str) and test(left, right)

        return check

    return ready


def _contains(right: Any) -> Check:
    key, text = key_of(right), _text(right)

    def check(left: Any) -> bool:
        if isinstance(left, str):
            return text in left
        if isinstance(left, list):
            return any(key_of(item) == key for item in left)
        return isinstance(left, dict) and text in left

    return check


def _among(right: Any) -> Check:
    keys = frozenset(key_of(item) for item in right) if isinstance(right, list) else frozenset()
    return lambda left: key_of(left) in keys


def _affix(name: str) -> Callable[[Any], Check]:
    def ready(right: Any) -> Check:
        text = _text(right)
        return lambda left: isinstance(left, str) and bool(getattr(left, name)(text))

    return ready


def _not(operator: Callable[[Any], Check]) -> Callable[[Any], Check]:
    def ready(right: Any) -> Check:
        check = operator(right)
        return lambda left: not check(left)

    return ready


OPERATORS: dict[str, Callable[[Any], Check]] = {
    "$eq": _equal,
    "$ne": _not(_equal),
    "$gt": _order(lambda a, b: bool(a > b)),
    "$gte": _order(lambda a, b: bool(a >= b)),
    "$lt": _order(lambda a, b: bool(a < b)),
    "$lte": _order(lambda a, b: bool(a <= b)),
    "$in": _among,
    "$nin": _not(_among),
    "$notIn": _not(_among),
    "$contains": _contains,
    "$notContains": _not(_contains),
    "$startsWith": _affix("startswith"),
    "$endsWith": _affix("endswith"),
    "$exists": lambda right: lambda left: (left is not None) == (right is not False),
    "$notExists": lambda right: lambda left: (left is None) == (right is not False),
}


def field_of(item: Any, path: str) -> Any:
    """Follow a dotted path; None where it leads nowhere."""
    for segment in path.split("."):
        if isinstance(item, dict):
            item = item.get(segment)
        elif isinstance(item, list) and segment.isascii() and segment.isdigit() and len(segment) < 10:
            item = item[int(segment)] if int(segment) < len(item) else None
        else:
            return None
    return item


def compile_condition(condition: Any, *, of_item: bool = False) -> Test:
    """Compile a rendered condition; `of_item`: its plain keys are fields of an item, otherwise they are literals."""
    return _compile(condition, of_item, 0)


def _compile(condition: Any, of_item: bool, depth: int) -> Test:
    if depth > MAX_DEPTH:
        raise BadInput(f"a condition nests at most {MAX_DEPTH} levels", code=400310)
    if isinstance(condition, list):
        return _all([_compile(part, of_item, depth + 1) for part in condition])
    if not isinstance(condition, dict):
        raise BadInput('a condition is an object such as {"$and": [{"{{n.result.x}}": {"$gt": 1}}]}', code=400310)
    if "$left" in condition:  # how a key that is one expression is rendered
        left = condition["$left"]
        return _tests(lambda _item: left, condition.get("$test"), of_item)
    return _all([_compile_key(key, value, of_item, depth + 1) for key, value in condition.items()])


def _all(parts: list[Test]) -> Test:
    return parts[0] if len(parts) == 1 else lambda item: all(part(item) for part in parts)


def _compile_key(key: str, value: Any, of_item: bool, depth: int) -> Test:
    if key == "$and":
        return _all([_compile(part, of_item, depth) for part in _list(key, value)])
    if key == "$or":
        parts = [_compile(part, of_item, depth) for part in _list(key, value)]
        return lambda item: any(part(item) for part in parts)
    if key == "$not":
        part = _compile(value, of_item, depth)
        return lambda item: not part(item)
    if key in OPERATORS:
        return _older(key, _list(key, value), of_item)
    return _tests((lambda item: field_of(item, key)) if of_item else (lambda _item: key), value, of_item)


def _older(operator: str, sides: list[Any], of_item: bool) -> Test:
    """`{"$gt": [left, right]}`; `$exists` may leave its right side out."""
    if len(sides) == 1 and operator in ("$exists", "$notExists"):
        sides = [*sides, True]
    if len(sides) != 2:
        raise BadInput(f"{operator} takes [left, right]", code=400310)
    field = local_field(sides[0]) if of_item else None
    return _tests((lambda item: field_of(item, field)) if field else (lambda _item: sides[0]), {operator: sides[1]},
                  of_item)  # fmt: skip


def _tests(left: Callable[[Any], Any], test: Any, of_item: bool) -> Test:
    if not isinstance(test, dict):
        check = _equal(test)
        return lambda item: check(left(item))
    checks: list[Test] = []
    for operator, right in test.items():
        if operator not in OPERATORS:
            raise BadInput(f"unknown operator {operator}: use one of {', '.join(OPERATORS)}", code=400310)
        checks.append(_check(left, OPERATORS[operator], right, local_field(right) if of_item else None))
    return _all(checks)


def _check(left: Callable[[Any], Any], operator: Callable[[Any], Check], right: Any, field: str | None) -> Test:
    if field is not None:
        return lambda item: operator(field_of(item, field))(left(item))
    ready = operator(right)
    return lambda item: ready(left(item))


def local_field(side: Any) -> str | None:
    """Return the field that `{{@field}}` names; None for everything else."""
    if isinstance(side, str) and side.startswith("{{") and side.endswith("}}"):
        inner = side[2:-2].strip()
        return inner[1:] if inner.startswith("@") else None
    return None


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{key} takes a list", code=400310)
    return value
