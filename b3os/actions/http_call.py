"""Carrying an HttpCall out: payload to request, answer to result, failures to the words of the execute protocol."""

import re
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from b3os.actions.spec import ActionContext, ActionSpec, ConnectorSpec, HttpCall, Provider
from b3os.errors import ActionFailed
from b3os.net.http import Response

_PLACE = re.compile(r"\{(secret:)?(\w+)\}", re.ASCII)
#: What the codes of `reasons` stand for: category, remediation, whether trying again can help.
REASONS: dict[str, tuple[str, str, bool]] = {
    "auth": ("auth", "check the connector's credential and its permissions", False),
    "missing": ("validation", "check the id: it does not exist, or the credential may not see it", False),
    "invalid": ("validation", "correct the node's payload", False),
    "rate": ("service", "try again later", True),
    "service": ("service", "try again later", True),
}


async def carry_out(
    spec: ActionSpec, call: HttpCall, provider: Provider, connector: ConnectorSpec | None, payload: Any,
    context: ActionContext,
) -> msgspec.Struct:  # fmt: skip
    """Send the request and return the result struct; raises ActionFailed."""
    values: dict[str, Any] = {name: getattr(payload, name) for name in payload.__struct_fields__}
    base, http = context.upstreams.find(provider.name, provider.base_url)
    url = base + filled(call.path, values, context.credential, is_url=True)
    query = {
        **call.fixed,
        **{name: _flat(values[field]) for name, field in call.query.items() if _is_there(values[field])},
    }
    headers = {"accept": "application/json"}
    for name, text in {**(connector.headers if connector and context.credential else {}), **call.headers}.items():
        headers[name] = filled(text, values, context.credential)
    body: bytes | None = None
    if call.body:
        body = msgspec.json.encode(
            {name: values[field] for name, field in call.body.items() if _is_there(values[field])}
        )
        headers["content-type"] = "application/json; charset=utf-8"
    answer = await http.request(call.method, f"{url}?{urlencode(query)}" if query else url, headers=headers, body=body)
    return _result(spec, call, values, _checked(call, answer))


def filled(text: str, values: dict[str, Any], credential: dict[str, Any], *, is_url: bool = False) -> str:
    """Fill the named places of a declaration; in a URL each is one escaped path segment."""

    def value_of(match: re.Match[str]) -> str:
        source, name = (credential, match[2]) if match[1] else (values, match[2])
        if match[1] and not credential.get(name):
            raise ActionFailed(
                "the connector has no credential",
                error_code="NO_CREDENTIAL",
                category="config",
                remediation="choose a connector in the node, or enter its credential again",
            )
        # A bot token holds a colon, which is allowed in a path segment.
        return quote(str(source[name]), safe=":") if is_url else str(source[name])

    return _PLACE.sub(value_of, text)


def _is_there(value: Any) -> bool:
    return value is not None and value not in ("", [])


def _flat(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def _checked(call: HttpCall, answer: Response) -> Any:
    """Return the decoded answer of a request that succeeded; raises ActionFailed with the upstream's own words."""
    try:
        found = msgspec.json.decode(answer.body) if answer.body else None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        found = None
        if answer.status < 400:
            raise bad_response("its answer is no JSON") from None
    if answer.status >= 400:
        raise _failed(_reason_of(answer.status), _words(found) or f"HTTP {answer.status}", answer)
    if call.ok and not (isinstance(found, dict) and found.get(call.ok)):
        code = str(found.get(call.error_at) if isinstance(found, dict) else "") or "unknown error"
        raise _failed(call.reasons.get(code, "invalid"), code, answer)
    return found


def _reason_of(status: int) -> str:
    known = {401: "auth", 403: "auth", 404: "missing", 429: "rate"}
    return known.get(status, "service" if status >= 500 else "invalid")


def _failed(reason: str, words: str, answer: Response) -> ActionFailed:
    category, remediation, retryable = REASONS[reason]
    wait = answer.headers.get("retry-after", "")
    if reason == "rate" and wait:
        remediation = f"try again in {wait} s"
    code = {"auth": "AUTH_FAILED", "missing": "NOT_FOUND", "rate": "RATE_LIMITED"}.get(reason, "API_ERROR")
    return ActionFailed(
        f"the service refuses: {words[:300]}",
        error_code=code, category=category, remediation=remediation, retryable=retryable,
    )  # fmt: skip


def _words(found: Any) -> str:
    """Return the upstream's own explanation, wherever it keeps it."""
    if isinstance(found, dict):
        for name in ("error", "message", "description", "detail", "status", "errors"):
            value = found.get(name)
            if isinstance(value, str) and value:
                return value
            if isinstance(value, dict | list) and value:
                return _words(value[0] if isinstance(value, list) else value)
    return found if isinstance(found, str) else ""


def bad_response(why: str) -> ActionFailed:
    """Make the error of an answer that makes no sense."""
    return ActionFailed(
        f"the service answered nonsense: {why}",
        error_code="BAD_RESPONSE",
        category="service",
        remediation="try again; if it stays, the service has changed",
        retryable=True,
    )


def _result(spec: ActionSpec, call: HttpCall, values: dict[str, Any], found: Any) -> msgspec.Struct:
    out: dict[str, Any] = {name: values[field] for name, field in call.echo.items()}
    for name, path in call.fields.items():
        target = out
        *outer, last = name.split(".")
        for part in outer:
            target = target.setdefault(part, {})
        target[last] = _at(found, path)
    try:
        result: msgspec.Struct = msgspec.convert(out, spec.result, strict=False)
    except msgspec.ValidationError as error:
        raise bad_response(str(error)) from error
    return result


def _at(found: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        found = found.get(part) if isinstance(found, dict) else None
    return found
