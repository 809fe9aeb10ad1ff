"""Reading a node's rendered payload: each function returns the field, or raises a BadInput that names it."""

from typing import Any

from b3os.errors import BadInput


def a_list(payload: dict[str, Any], *names: str) -> list[Any]:
    """Return the first of these fields that is there; it must be a list."""
    name = next((name for name in names if name in payload), names[0])
    value = payload.get(name)
    if not isinstance(value, list):
        raise BadInput(f"`{name}` is not a list: it is {kind_of(value)}. Check the expression.", code=400311)
    return value


def a_text(payload: dict[str, Any], *names: str, code: int = 400360, default: str | None = None) -> str:
    """Return the first of these fields that is there; it must be a non-empty string, unless there is a default."""
    name = next((name for name in names if payload.get(name) is not None), names[0])
    value = payload.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not (value or default is not None):
        raise BadInput(f"`{name}` is a non-empty string, not {kind_of(value)}. Check the expression.", code=code)
    return value


def a_number(payload: dict[str, Any], name: str, *, default: int, least: int, most: int, code: int = 400360) -> int:
    """Return a whole number within its bounds; a string of digits is one."""
    value = payload.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 17:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"`{name}` is a whole number from {least} to {most}", code=code)
    return value


def kind_of(value: Any) -> str:
    """Say in JSON's words what a value is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", dict: "an object", list: "a list", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
