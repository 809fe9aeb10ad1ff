"""The trigger types: name, description and schemas; what the API lists and validation checks against."""

from typing import Any

import msgspec


class TriggerSpec(msgspec.Struct, frozen=True):
    """One trigger type and the JSON Schemas of its payload and result."""

    type: str
    name: str
    description: str
    payload_schema: dict[str, Any]
    result_schema: dict[str, Any]
    tags: tuple[str, ...] = ()


_RESULT = {
    "type": "object",
    "properties": {"triggeredAt": {"type": "string"}, "body": {}, "headers": {"type": "object"}},
}

_SPECS = (
    TriggerSpec("manual", "Manual", "Runs by hand, over the API, or by the workflow's webhook address.",
                {"type": "object", "properties": {"inputSchema": {}}}, _RESULT, ("manual",)),
    TriggerSpec("webhook", "Webhook", "Runs when the workflow's webhook address is called.",
                {"type": "object"}, _RESULT, ("manual",)),
    TriggerSpec("cronjob", "Schedule", "Runs at the slots of a five-field cron in a time zone, or of an RRULE.",
                {"type": "object", "properties": {"schedule": {"type": "string"}, "cron": {"type": "string"},
                 "rrule": {"type": "string"}, "timezone": {"type": "string"}}},
                {"type": "object", "properties": {"triggeredAt": {"type": "string"}}}, ("schedule",)),
)  # fmt: skip

TRIGGER_TYPES: dict[str, TriggerSpec] = {spec.type: spec for spec in _SPECS}


def webhook_result(body: Any, headers: dict[str, str], triggered_at: str) -> dict[str, Any]:
    """Make the result of a webhook or manual trigger: the body's keys on top, and the whole under `body`."""
    merged = dict(body) if isinstance(body, dict) else {}
    return {**merged, "body": body, "headers": headers, "triggeredAt": triggered_at}
