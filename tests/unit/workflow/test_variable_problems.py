"""What publishing says of variables: declarations, constant writes, references."""

from typing import Any

import pytest

from b3os.run.builtins.catalog import BUILTINS
from b3os.workflow.definition import normalise
from b3os.workflow.validation import TypeInfo, validate

TYPES = {name: TypeInfo("logic", spec.payload_schema) for name, spec in BUILTINS.items()}
TYPES["manual"] = TypeInfo("trigger", {"type": "object"})
DEFS = [{"name": "count", "type": "number", "lifetime": "persist", "default": 0}]


def codes(payload: dict[str, Any], defs: list[dict[str, Any]], kind: str = "set-variable") -> list[str]:
    nodes = {"root": {"type": "manual", "children": ["a"]}, "a": {"type": kind, "payload": payload}}
    return [problem.code for problem in validate(normalise({"nodes": nodes, "variableDefs": defs}), TYPES)]


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ({"name": "count", "value": 1}, []),
        ({"name": "count", "value": "{{$vars.count}}"}, []),
        ({"name": "count", "value": "1"}, ["pure_variable_type_mismatch"]),
        ({"name": "other", "value": 1}, ["variable_unknown"]),
        ({"name": "{{root.result.n}}", "value": "x"}, []),
        ({"name": "count", "value": "{{$vars.none}}"}, ["variable_unknown"]),
    ],
)
def test_a_write_is_checked(payload: dict[str, Any], found: list[str]) -> None:
    assert codes(payload, DEFS) == found


def test_a_wrong_declaration_is_a_problem_of_the_definition() -> None:
    assert codes({"message": "x"}, [{"name": "a", "type": "uint"}], "log") == ["variable_invalid"]
