"""Built-ins over text: format, regex, parse-google-sheets-url. Pure; results are bounded before they are built."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import re2

from b3os._speedups.expression import render_local
from b3os.errors import BadInput
from b3os.run.builtins.payloads import a_text, kind_of

#: Characters of a text that is matched, and of one that is rendered.
TEXT_LIMIT = 1 << 20
PATTERN_LIMIT = 1024
#: Matches kept of a global pattern: a list of 10,000 maps is a few megabytes.
MATCH_LIMIT = 10_000
REGEX_MEMORY = 8 << 20
_SHEET = re.compile(r"/spreadsheets/(?:u/\d+/)?d/(e/)?([A-Za-z0-9_-]{10,200})(?:/|$)", re.ASCII)
_RANGE = re.compile(r"[A-Za-z0-9_$!:' -]{1,200}", re.ASCII)


def run_format(payload: dict[str, Any]) -> dict[str, Any]:
    """Render a template with {{@field}} once, or once per item joined by the separator."""
    data, template = payload.get("data"), a_text(payload, "template", default="")
    if not isinstance(data, list):
        return {"formatted": render_local(template, data)}
    separator = a_text(payload, "separator", default="\n")
    parts: list[str] = []
    size = 0
    for item in data:
        parts.append(render_local(template, item))
        size += len(parts[-1]) + len(separator)
        if size > TEXT_LIMIT:
            raise BadInput(
                f"the text is larger than {TEXT_LIMIT} characters at item {len(parts) - 1}: format fewer items",
                code=400361,
            )
    return {"formatted": separator.join(parts)}


def run_regex(payload: dict[str, Any]) -> dict[str, Any]:
    """Match an RE2 pattern: linear time, no look-behind, no back-references."""
    text = payload.get("text", payload.get("input"))
    if not isinstance(text, str):
        raise BadInput(f"`text` is a string, not {kind_of(text)}. Check the expression.", code=400312)
    if len(text) > TEXT_LIMIT:
        raise BadInput(f"`text` has at most {TEXT_LIMIT} characters: it has {len(text)}", code=400361)
    pattern = _compiled(a_text(payload, "pattern", code=400312))
    if not payload.get("global"):
        match = pattern.search(text)
        return {"matched": match is not None, "matches": _groups(match) if match else {}}
    found: list[dict[str, Any]] = []
    for match in pattern.finditer(text):
        if len(found) == MATCH_LIMIT:
            return {"matched": True, "matches": found, "truncated": True}
        found.append(_groups(match))
    return {"matched": bool(found), "matches": found}


def _compiled(pattern: str) -> Any:
    if len(pattern) > PATTERN_LIMIT:
        raise BadInput(f"a pattern has at most {PATTERN_LIMIT} characters", code=400312)
    options = re2.Options()
    options.max_mem = REGEX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise BadInput(
            f"the pattern is refused: {why}. RE2 has no look-behind, no back-references and no repeat over 1,000.",
            code=400312,
        ) from error


def _groups(match: Any) -> dict[str, Any]:
    groups = {str(n): match.group(n) for n in range(len(match.groups()) + 1)}
    return {**groups, **match.groupdict()}


def run_sheets_url(payload: dict[str, Any]) -> dict[str, Any]:
    """Read spreadsheet, sheet and range out of a Google Sheets address."""
    url = a_text(payload, "url", "sheetUrl", "spreadsheetUrl", code=400362).strip()
    try:
        parts = urlsplit(url)
        host, found = parts.hostname, _SHEET.search(parts.path)
        query = {**parse_qs(parts.query), **parse_qs(parts.fragment)}
    except ValueError:
        host, found, query = None, None, {}
    if host != "docs.google.com" or parts.scheme not in ("http", "https") or found is None:
        raise BadInput(
            f"{url[:200]!r} is no Google Sheets address: copy it from the browser, "
            "https://docs.google.com/spreadsheets/d/…/edit#gid=0",
            code=400362,
        )
    gid, area = query.get("gid", [""])[0], query.get("range", [""])[0]
    published, sheet_id = found[1] or "", found[2]
    return {
        "spreadsheetId": sheet_id,
        "sheetId": int(gid) if gid.isascii() and gid.isdigit() and len(gid) < 12 else None,
        "range": area if _RANGE.fullmatch(area) else None,
        "isPublished": bool(published),
        "url": f"https://docs.google.com/spreadsheets/d/{published}{sheet_id}",
    }
