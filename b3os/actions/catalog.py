"""All actions by type, and their wire form; schemas come from the structs, so words exist once."""

from collections.abc import Iterable
from typing import Any

import msgspec

from b3os.actions.spec import ActionSpec, Provider
from b3os.errors import NotFound


class Catalog:
    """The actions of an installation."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self.specs: dict[str, ActionSpec] = {spec.type: spec for p in providers for spec in p.actions}

    def get(self, action_type: str) -> ActionSpec:
        """Return an action; NotFound when there is none of this type."""
        found = self.specs.get(action_type)
        if found is None:
            raise NotFound(f"no action {action_type}: see GET /v1/actions")
        return found

    def definition(self, action_type: str) -> dict[str, Any]:
        """Return the wire form of an action."""
        spec = self.get(action_type)
        return {
            "type": spec.type,
            "name": spec.title,
            "description": spec.description,
            "category": spec.category,
            "tags": list(spec.tags),
            "operationType": spec.operation,
            "connector": {"type": spec.connector} if spec.connector else None,
            "requiresGas": spec.requires_gas,
            "payloadSchema": schema_of(spec.payload),
            "resultSchema": schema_of(spec.result),
        }


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct with its own definitions inside."""
    schema = msgspec.json.schema(struct)
    name = schema.pop("$ref").rsplit("/", 1)[1]
    definitions = schema.pop("$defs")
    own: dict[str, Any] = definitions.pop(name)
    return {**own, "$defs": definitions} if definitions else own
