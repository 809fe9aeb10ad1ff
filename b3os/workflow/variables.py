"""Declared variables of a workflow: `variableDefs`, read as {{$vars.name}}. Pure.

`persist` keeps its value from run to run, `reset` begins each run with its default. The type is checked where a value
is written; null is no value of any type.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

Type = Literal["number", "text", "boolean", "list", "object"]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
#: What a variable without a default begins as is null, which no type admits but every reader knows.
_KINDS: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "text": (str,),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
}


class VariableDef(msgspec.Struct, frozen=True):
    """One declared variable."""

    name: str
    type: Type
    lifetime: Literal["persist", "reset"] = "reset"
    default: Any = None
    description: str = ""


def is_of(type_: str, value: Any) -> bool:
    """Say whether a value is of a variable's type; true is no number."""
    return isinstance(value, _KINDS[type_]) and isinstance(value, bool) == (type_ == "boolean")


def variables_of(raw: list[dict[str, Any]]) -> dict[str, VariableDef]:
    """Read `variableDefs`; what is malformed is left out, as `variable_problems` tells before publishing."""
    found = {}
    for item in raw:
        try:
            one = msgspec.convert(item, VariableDef)
        except msgspec.ValidationError:
            continue
        found[one.name] = one
    return found


def variable_problems(raw: list[dict[str, Any]]) -> Iterator[str]:
    """Say what is wrong with `variableDefs`, one sentence each."""
    seen: set[str] = set()
    for index, item in enumerate(raw):
        try:
            one = msgspec.convert(item, VariableDef)
        except msgspec.ValidationError as error:
            yield f"variableDefs.{index}: {error}"
            continue
        if not _NAME.fullmatch(one.name):
            yield f"variableDefs.{index}: a name has letters, digits and _, at most 64, and does not begin with a digit"
        if one.name in seen:
            yield f"variableDefs.{index}: {one.name} is declared twice"
        if one.default is not None and not is_of(one.type, one.default):
            yield f"variableDefs.{index}: the default of {one.name} is no {one.type}"
        seen.add(one.name)
