"""/openapi.json and docs/api.md, from the route table and its descriptions.

`python -m services.api.openapi` prints docs/api.md.
"""

import re
from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec

from services.api.descriptions import DESCRIBED, Described
from services.api.wire import PAGE_DEFAULT, PAGE_MAX

ENVELOPE = {
    "type": "object",
    "required": ["code", "message", "data", "requestId"],
    "properties": {
        "code": {"type": "integer", "description": "200, or 0 for bootstrap"},
        "message": {"type": "string"},
        "data": {"description": "The result"},
        "requestId": {"type": "string"},
    },
}
FAILURE = {
    "type": "object",
    "required": ["code", "message", "details", "requestId"],
    "properties": {
        "code": {"type": "integer", "description": "Six digits, the first three an HTTP status; see docs/errors.md"},
        "message": {"type": "string", "description": "What is wrong, why, and what to do"},
        "details": {"type": "array", "items": {}},
        "requestId": {"type": "string"},
    },
}
#: Where a type's schema is in the document.
PLACE = "#/components/schemas/{name}"
_PLACE = re.compile(r"\{(\w+)\}")


def _schema(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema_components([kind], ref_template=PLACE)[0][0]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": PLACE.format(name=name)}


def _parameters(path: str, about: Described) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text} for name in _PLACE.findall(path)
    ]
    if about.is_paged:
        limit = {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT}
        found.append({"name": "limit", "in": "query", "schema": limit})
        found.append({"name": "offset", "in": "query", "schema": {"type": "integer", "minimum": 0, "default": 0}})
    found += [{"name": n, "in": "query", "description": d, "schema": text} for n, d in about.query.items()]
    return found


def _answer(path: str, about: Described) -> dict[str, Any]:
    if path.endswith("/stream"):
        return {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    if path == "/metrics":
        return {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    if path == "/openapi.json":
        return {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}
    schema = {"allOf": [_ref("Envelope"), {"type": "object", "properties": {"data": _schema(about.data)}}]}
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _operation(method: str, path: str, about: Described, need: str) -> dict[str, Any]:
    failure = {"description": "Refused", "content": {"application/json": {"schema": _ref("Failure")}}}
    found: dict[str, Any] = {
        "tags": [about.tag],
        "summary": about.summary,
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "parameters": _parameters(path, about),
        "responses": {"200": _answer(path, about), "default": failure},
        "security": {"anyone": [], "maybe": [{}, {"key": []}]}.get(need, [{"key": []}]),
    }
    if about.body is not None:
        schema: dict[str, Any] = about.body if "type" in about.body and about.body["type"] == "object" else {}
        if not schema:
            schema = {"type": "object", "properties": about.body, "required": list(about.needed)}
        found["requestBody"] = {"required": bool(about.needed), "content": {"application/json": {"schema": schema}}}
    return found


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all routes."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, need in routes():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, DESCRIBED[method, path], need)
    return {
        "openapi": "3.1.0",
        "info": {"title": "B3OS", "version": version("b3os"), "description": "Workflows for blockchain operations."},
        "paths": paths,
        "components": {
            "schemas": {"Envelope": ENVELOPE, "Failure": FAILURE, **shapes()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, b3sk_…"}},
        },
    }


def shapes() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every type that an answer's `data` is made of, by name."""
    wanted = [about.data for about in DESCRIBED.values() if about.data is not None]
    return msgspec.json.schema_components(wanted, ref_template=PLACE)[1]


def routes() -> list[tuple[str, str, str]]:
    """Return method, path and need of every route."""
    from services.api.app import ROUTES  # the table imports its handlers, and one of them is ours

    return [("GET", "/metrics", "anyone"), *((route.method, route.path, route.need) for route in ROUTES)]


def page() -> str:
    """Return docs/api.md."""
    lines = [
        "# The API",
        "",
        "Made by `python -m services.api.openapi > docs/api.md` from the route table; `/openapi.json` says the same to",
        "programs. Every answer is an envelope, `{code, message, data, requestId}`; an error has `details` instead of",
        "`data`, and its code is in docs/errors.md. What `data` is stands behind each route; the shapes are at the",
        f"end. Lists take `limit` (1 to {PAGE_MAX}, {PAGE_DEFAULT} unless told) and `offset`, clamped rather than",
        "refused. Unknown members of a body are ignored. A body has at most 1 MB. Where `B3OS_RATE_LIMIT` is set, an",
        "organization that calls more often gets 429 with `Retry-After`.",
        "",
        "`need`: *anyone*, no key; *maybe*, a key or another secret; *read*, any key; *write*, a read-write key.",
        "Send `Authorization: Bearer b3sk_…`. What belongs to another organization is 404.",
        "",
    ]
    tag = ""
    for method, path, need in sorted(routes(), key=lambda route: list(DESCRIBED).index(route[:2])):
        about = DESCRIBED[method, path]
        if about.tag != tag:
            tag = about.tag
            lines += ["", f"## {tag.capitalize()}", "", "| route | need | | data |", "|---|---|---|---|"]
        data = f"`{_word(_schema(about.data))}`" if about.data else ""
        lines.append(f"| `{method} {path}` | {need} | {about.summary} | {data} |")
    return re.sub("\n{3,}", "\n\n", "\n".join([*lines, *_shape_lines()])) + "\n"


def _shape_lines() -> list[str]:
    lines = ["", "## Shapes", "", "`?` marks a member that may be missing. Times are RFC 3339 text in UTC.", ""]
    for name, shape in shapes().items():
        if name.startswith("Page_"):
            continue
        needed = shape.get("required", ())
        members = [f"`{key}{'' if key in needed else '?'}: {_word(one)}`" for key, one in shape["properties"].items()]
        lines.append(f"- **{name}** {shape['description']} {', '.join(members)}")
    return lines


def _word(schema: dict[str, Any]) -> str:
    """Write a schema in one word or a few, for people."""
    if "$ref" in schema:
        return re.sub(r"^Page_(\w+)_$", r"Page<\1>", schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " or ".join(_word(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if schema.get("type") == "array":
        return f"[{_word(schema['items'])}]"
    if schema.get("type") == "object" and "additionalProperties" in schema:
        return f"map<{_word(schema['additionalProperties'])}>"
    return str(schema.get("type", "any"))


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201
