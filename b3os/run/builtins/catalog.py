"""The built-in node types: name, description and payload schema; what the API lists and validation checks against."""

from typing import Any

import msgspec


class BuiltinSpec(msgspec.Struct, frozen=True):
    """One built-in: its words and the JSON Schemas of payload and result."""

    type: str
    name: str
    description: str
    payload_schema: dict[str, Any]
    result_schema: dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_TEXT, _LIST, _BOOL = {"type": "string"}, {"type": "array"}, {"type": "boolean"}
_ANY: dict[str, Any] = {}
_DECIMALS = {"type": ["integer", "string"], "description": "decimals of the token, 18 unless said"}
_AMOUNT = {"type": ["string", "integer", "number"]}
_EXTREME = _object(item=_ANY, value=_ANY, index={"type": ["integer", "null"]})

_SPECS = (
    BuiltinSpec("if", "If", "Go on with the `then` or the `else` children.",
                _object(("condition",), condition={"type": "object"}), _object(branch=_TEXT)),
    BuiltinSpec("for-each", "For each", "Run the loop body once per item, one after another; at most 100 items.",
                _object(("array",), array=_LIST),
                _object(iterations=_LIST, iterationCount={"type": "integer"}, status=_TEXT)),
    BuiltinSpec("filter", "Filter", "Keep the items of a list for which a condition holds.",
                _object(("array",), array=_LIST, filter={"type": "object"}, condition={"type": "object"}),
                _object(filtered=_LIST)),
    BuiltinSpec("pluck", "Pluck", "Take one field, or several, of each item.",
                _object(("array",), array=_LIST, field=_TEXT, fields={"type": ["array", "string"]}),
                _object(values=_LIST)),
    BuiltinSpec("log", "Log", "Keep a message in the run.", _object(("message",), message=_ANY),
                _object(message=_ANY, loggedAt=_TEXT)),
    BuiltinSpec("format", "Format", "Render a template with {{@field}}, once or once per item.",
                _object(("template",), data=_ANY, template=_TEXT, separator=_TEXT), _object(formatted=_TEXT)),
    BuiltinSpec("regex", "Regex", "Match an RE2 pattern.",
                _object(("pattern",), text=_TEXT, input=_TEXT, pattern=_TEXT, **{"global": _BOOL}),
                _object(matched=_BOOL, matches=_ANY)),
    BuiltinSpec("delay", "Delay", "Go on after a while; nothing is held meanwhile.",
                _object(delayMs={"type": ["integer", "string"]}, duration=_TEXT), _object(status=_TEXT)),
    BuiltinSpec("wait", "Wait", "Wait for an external callback; children carry branch `resumed` or `timed_out`.",
                _object(timeoutMs={"type": ["integer", "string"]}, triggerType=_TEXT, triggerConfig=_ANY),
                _object(status=_TEXT, branch=_TEXT, triggerResult=_ANY)),
    BuiltinSpec("convert-to-wei", "Convert to wei", "Turn a decimal amount into base units, exactly.",
                _object(("value",), value=_AMOUNT, decimals=_DECIMALS), _object(wei=_TEXT)),
    BuiltinSpec("convert-from-wei", "Convert from wei", "Turn base units into a decimal amount, exactly.",
                _object(("wei",), wei=_AMOUNT, decimals=_DECIMALS), _object(value=_TEXT)),
    BuiltinSpec("list-max", "List maximum", "Find the largest item, by a field if one is given.",
                _object(list=_LIST, array=_LIST, field=_TEXT), _EXTREME),
    BuiltinSpec("list-min", "List minimum", "Find the smallest item, by a field if one is given.",
                _object(list=_LIST, array=_LIST, field=_TEXT), _EXTREME),
    BuiltinSpec("storage", "Storage", "Write a value of the workflow's storage; read it with {{$storage.key}}.",
                _object(("key",), key=_TEXT, value=_ANY), _object(key=_TEXT, value=_ANY, previous=_ANY)),
)  # fmt: skip

BUILTINS: dict[str, BuiltinSpec] = {spec.type: spec for spec in _SPECS}
