"""The built-in node types: name, words, payload and result schemas; what the API lists and validation checks against.

A field that has another name in the other generation is there twice; the node takes either.
"""

from typing import Any

import msgspec

Schema = dict[str, Any]


class BuiltinSpec(msgspec.Struct, frozen=True):
    """One built-in: its words and the JSON Schemas of payload and result."""

    type: str
    name: str
    description: str
    payload_schema: Schema
    result_schema: Schema
    tags: tuple[str, ...] = ()


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _field(about: str, *types: str) -> Schema:
    return {"description": about, **({"type": types[0] if len(types) == 1 else list(types)} if types else {})}


def _text(about: str) -> Schema:
    return _field(about, "string")


def _any(about: str) -> Schema:
    return _field(about)


def _list(about: str) -> Schema:
    return _field(about, "array")


def _flag(about: str) -> Schema:
    return _field(about, "boolean")


def _whole(about: str) -> Schema:
    return _field(about, "integer", "string")


_CONDITION = _field(
    'Such as {"$and": [{"{{n.result.x}}": {"$gt": 1}}]}; operators $eq $ne $gt $gte $lt $lte $in $nin $contains '
    "$notContains $startsWith $endsWith $exists $notExists; numeric strings compare as numbers",
    "object",
)
_FIELDS = _field(
    'Conditions on fields of an item, such as {"$and": [{"price": {"$gt": 1}}]}, or {"$gt": ["{{@price}}", 1]}',
    "object",
)
_DECIMALS = _whole("Decimals of the token, 0 to 77; 18 unless said")
_AMOUNT = ("string", "integer", "number")
_ARRAY = _list("The list, usually one expression")
_EXTREME = _object(
    item=_any("The item, null for an empty list"),
    value=_any("The value that was compared"),
    index=_field("Its place, from 0", "integer", "null"),
)
_KEY = _text("The key")
_STORE = _text("Named store; `default` unless said")

_FLOW = (
    BuiltinSpec("if", "If", "Go on with the `then` or the `else` children.",
                _object(("condition",), condition=_CONDITION), _object(branch=_text("`then` or `else`")), ("flow",)),
    BuiltinSpec("for-each", "For each", "Run the loop body once per item, one after another; at most 100 items.",
                _object(("array",), array=_ARRAY),
                _object(iterations=_list("One entry per item"), iterationCount=_field("Items", "integer"),
                        lastAdvancedIteration=_field("Items less one", "integer"), status=_text("`completed`")),
                ("flow",)),
    BuiltinSpec("wait", "Wait", "Wait for a callback, or for an event of a trigger; children carry branch `resumed` or "
                "`timed_out`.",
                _object(timeoutMs=_whole("1 s to 7 days in milliseconds; 5 minutes unless said"),
                        triggerType=_text("Trigger that ends the wait, such as evm-log; without it, a callback"),
                        triggerConfig=_field("Payload of that trigger", "object")),
                _object(status=_text("`waiting`, `resumed` or `timed_out`"), branch=_text("`resumed` or `timed_out`"),
                        triggerResult=_any("What the callback sent, or the event"), data=_any("The same"),
                        source=_text("Who resumed it: `manual` or the trigger type"),
                        timeoutMs=_field("How long it waits", "integer")),
                ("flow",)),
    BuiltinSpec("delay", "Delay", "Go on after a while; nothing is held meanwhile.",
                _object(delayMs=_whole("Milliseconds, 0 to 7 days"),
                        duration=_text("The same as 500ms, 30s, 15m, 2h, 1d")),
                _object(status=_text("`completed`")), ("flow",)),
    BuiltinSpec("trigger-workflow", "Trigger workflow", "Start a run of another active workflow, and go on at once.",
                _object(("workflowId",), workflowId=_text("Workflow of the same organization"),
                        payload=_any("What its trigger gives: {{root.result.x}}, {{root.input.x}} and {{$inputs.x}}")),
                _object(triggeredWorkflowId=_text("The workflow"), triggeredWorkflowName=_text("Its name"),
                        runId=_text("The new run; empty when none began"),
                        runStatus=_text("`running`, or `skipped` by the workflow's cooldown or run limit"),
                        triggeredAt=_text("When")),
                ("flow",)),
    BuiltinSpec("log", "Log", "Keep a message in the run.", _object(("message",), message=_any("The message")),
                _object(message=_any("The message"), loggedAt=_text("When")), ("flow",)),
)  # fmt: skip

_DATA = (
    BuiltinSpec("filter", "Filter", "Keep the items of a list for which a condition holds.",
                _object(("array",), array=_ARRAY, filter=_FIELDS, condition=_FIELDS),
                _object(filtered=_list("The items kept")), ("data",)),
    BuiltinSpec("pluck", "Pluck", "Take one field, or several, of each item.",
                _object(("array",), array=_ARRAY, field=_text("Field, dotted"),
                        fields=_field("Field, or a list of fields", "array", "string")),
                _object(values=_list("One value, or one object of the fields, per item")), ("data",)),
    BuiltinSpec("format", "Format", "Render a template with {{@field}}, once or once per item.",
                _object(("template",), data=_any("An object, or a list of objects"),
                        template=_text("Text with {{@field}}"),
                        separator=_text("Between items; a new line unless said")),
                _object(formatted=_text("The text")), ("data",)),
    BuiltinSpec("regex", "Regex", "Match an RE2 pattern: linear time, no look-behind, no back-references.",
                _object(("pattern",), text=_text("The text"), input=_text("The same"),
                        pattern=_text("At most 1,024 characters; groups as (?P<name>…)"),
                        **{"global": _flag("All matches instead of the first")}),
                _object(matched=_flag("Whether it matches"),
                        matches=_any("Groups by name and number, `0` the whole; a list of these when global"),
                        truncated=_flag("Only the first 10,000 matches are here")),
                ("data",)),
    BuiltinSpec("list-max", "List maximum", "Find the largest item, by a field if one is given.",
                _object(list=_ARRAY, array=_ARRAY, values=_ARRAY, field=_text("Field to compare, dotted")), _EXTREME,
                ("data",)),
    BuiltinSpec("list-min", "List minimum", "Find the smallest item, by a field if one is given.",
                _object(list=_ARRAY, array=_ARRAY, values=_ARRAY, field=_text("Field to compare, dotted")), _EXTREME,
                ("data",)),
    BuiltinSpec("convert-to-wei", "Convert to wei", "Turn a decimal amount into base units, exactly.",
                _object(("value",), value=_field("Amount, best as a string", *_AMOUNT), decimals=_DECIMALS),
                _object(wei=_text("Base units")), ("data",)),
    BuiltinSpec("convert-from-wei", "Convert from wei", "Turn base units into a decimal amount, exactly.",
                _object(("wei",), wei=_field("Base units, best as a string", *_AMOUNT), decimals=_DECIMALS),
                _object(value=_text("Amount")), ("data",)),
    BuiltinSpec("parse-google-sheets-url", "Parse Google Sheets URL",
                "Read spreadsheet, sheet and range of an address.",
                _object(url=_text("Address of a spreadsheet"), sheetUrl=_text("The same"),
                        spreadsheetUrl=_text("The same")),
                _object(spreadsheetId=_text("The spreadsheet"), sheetId=_field("The sheet (gid)", "integer", "null"),
                        range=_field("Range such as A1:B2", "string", "null"),
                        isPublished=_flag("Whether it is a published copy"), url=_text("Short address")),
                ("data",)),
    BuiltinSpec("code-transform", "Code transform",
                "Run your JavaScript function transform(input); no network, no files.",
                _object(("code",), code=_text("ES6+ that defines transform(input); it may be async"),
                        input=_any("What transform gets"),
                        timeout=_whole("Milliseconds; 5,000 unless said, 10,000 at most"),
                        inputType=_field("JSON Schema that the input must meet", "object"),
                        outputType=_field("JSON Schema that the output must meet", "object")),
                _object(output=_any("What transform returned")), ("data",)),
)  # fmt: skip

_STATE = (
    BuiltinSpec("storage", "Storage", "Write a value of the workflow's storage, or read it; also {{$storage.key}}.",
                _object(("key",), key=_KEY, value=_any("Value to write; leave it out to read")),
                _object(key=_KEY, value=_any("The value"), previous=_any("What it was before a write")), ("state",)),
    BuiltinSpec("set-variable", "Set variable", "Give a declared variable a value; read it with {{$vars.name}}.",
                _object(("name", "value"), name=_text("A name of variableDefs"), value=_any("A value of its type")),
                _object(name=_text("The variable"), value=_any("The value"), previous=_any("What it was")), ("state",)),
    BuiltinSpec("org-storage-get", "Get from organization storage", "Read a value that all workflows share.",
                _object(("key",), key=_KEY, store=_STORE),
                _object(key=_KEY, store=_STORE, value=_any("The value, or null"), found=_flag("Whether it is there")),
                ("state",)),
    BuiltinSpec("org-storage-set", "Set in organization storage", "Write a value that all workflows share.",
                _object(("key", "value"), key=_KEY, value=_any("The value, at most 256 kB"), store=_STORE),
                _object(key=_KEY, store=_STORE, value=_any("The value")), ("state",)),
    BuiltinSpec("org-storage-list", "List organization storage", "List keys that all workflows share, in order.",
                _object(store=_STORE, prefix=_text("Only keys that begin so"),
                        limit=_whole("1 to 1,000; 100 unless said"),
                        offset=_whole("Keys to skip"), includeValues=_flag("Values too")),
                _object(store=_STORE, keys=_list("Keys"), items=_list("{key, value}, when asked for"),
                        count=_field("Keys here", "integer"), hasMore=_flag("Whether there are more")),
                ("state",)),
    BuiltinSpec("db-query", "Database query",
                "Read or write the organization's database; tables are made over the API.",
                _object(sql=_text("One statement with ? or $1 for parameters"), query=_text("The same"),
                        params=_list("Values of the parameters")),
                _object(rows=_list("Rows as objects, at most 1,000"), rowsAffected=_field("Rows written", "integer"),
                        lastRowId=_field("Row id of the last insert", "integer", "null"),
                        truncated=_flag("Whether there were more rows")),
                ("state",)),
)  # fmt: skip

_OUT = (
    BuiltinSpec("send-webhook", "Send webhook", "Post JSON to an address, signed, with retries; goes on at once.",
                _object(("url",), url=_text("https address"), headers=_field("Headers by name", "object"),
                        body=_any("What is sent as JSON; a string is sent as it is"),
                        maxRetries=_whole("0 to 10; 3 unless said")),
                _object(deliveryId=_text("The delivery"), status=_text("`pending`"), url=_text("The address"),
                        method=_text("`POST`")),
                ("messaging",)),
)  # fmt: skip

BUILTINS: dict[str, BuiltinSpec] = {spec.type: spec for spec in (*_FLOW, *_DATA, *_STATE, *_OUT)}
