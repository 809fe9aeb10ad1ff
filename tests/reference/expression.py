"""The obvious model of templates: regular expressions and recursion, no speed. Compared with the compiled core.

It covers what a definition may hold and refuses nothing: the texts given to it are well formed.
"""

import re
from typing import Any

import msgspec

EXPRESSION = re.compile(r"""\{\{((?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?!\}\})[^'"])*)\}\}""", re.S)
OPERAND = re.compile(r"""\s*('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?:\[[^\]]*\]|[^\s|\[])+)\s*(?:\|\||$)""", re.S)
SEGMENT = re.compile(r"""\.?([\w$-]+)|\[\s*(\d+)\s*\]|\[\s*(?:'([^']*)'|"([^"]*)")\s*\]""")
LITERALS = {"true": True, "false": False, "null": None}


def walk(path: list[str], value: Any) -> Any:
    """Follow segments: keys of dicts, indexes of lists."""
    for segment in path:
        if isinstance(value, dict):
            value = value.get(segment)
        elif isinstance(value, list) and re.fullmatch("[0-9]+", segment) and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return None
    return value


def operand(source: str, scopes: tuple[dict[str, Any], ...]) -> Any:
    """Return the value of a literal or a path."""
    if source[0] in "'\"":
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), source[1:-1], flags=re.S)
    if re.fullmatch(r"-?[0-9]+", source):
        return int(source)
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", source):
        return float(source)
    if source in LITERALS:
        return LITERALS[source]
    path = ["".join(groups) for groups in SEGMENT.findall(source)]
    if path[0] == "$nodes":
        del path[0]
    merged: dict[str, Any] = {}
    for scope in reversed(scopes):
        merged.update(scope)
    return walk(path, merged)


def evaluate(source: str, scopes: tuple[dict[str, Any], ...]) -> Any:
    """Return the first alternative that is not null."""
    values = (operand(part, scopes) for part in OPERAND.findall(source))
    return next((value for value in values if value is not None), None)


def as_text(value: Any) -> str:
    """Write a value inside a text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def render_text(source: str, scopes: tuple[dict[str, Any], ...]) -> Any:
    """Return the value of a whole expression, or a text; `{{@…}}` stays."""

    def put(match: re.Match[str]) -> str:
        return match[0] if match[1].lstrip().startswith("@") else as_text(evaluate(match[1], scopes))

    whole = EXPRESSION.fullmatch(source)
    if whole and not whole[1].lstrip().startswith("@"):
        return evaluate(whole[1], scopes)
    return EXPRESSION.sub(put, source)


def render(value: Any, scopes: tuple[dict[str, Any], ...]) -> Any:
    """Render a payload without conditions."""
    if isinstance(value, str):
        return render_text(value, scopes)
    if isinstance(value, list):
        return [render(item, scopes) for item in value]
    if isinstance(value, dict):
        return {as_text(render_text(key, scopes)): render(item, scopes) for key, item in value.items()}
    return value
