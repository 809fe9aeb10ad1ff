"""What a trigger type is, in words and JSON Schemas. Pure."""

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


def object_of(*needed: str, **properties: Any) -> dict[str, Any]:
    """Write the schema of an object; `needed` are its required members."""
    return {"type": "object", "properties": properties, **({"required": list(needed)} if needed else {})}
