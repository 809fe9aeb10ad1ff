"""All actions and connector types, and their wire forms; schemas come from the structs, so words exist once."""

from collections.abc import Iterable
from typing import Any

import msgspec

from b3os.actions.spec import ActionSpec, ConnectorSpec, Provider
from b3os.errors import NotFound


class Catalog:
    """The actions of an installation."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self.specs: dict[str, ActionSpec] = {}
        self.connectors: dict[str, ConnectorSpec] = {}
        self._providers: dict[str, Provider] = {}
        self._owners: dict[str, Provider] = {}
        for provider in providers:
            for connector in provider.connectors:
                self.connectors[connector.type] = connector
                self._owners[connector.type] = provider
            for spec in provider.actions:
                if spec.type in self.specs or (spec.call is None) == (spec.run is None):
                    raise ValueError(f"{spec.type} is there twice, or has not exactly one of call and run")
                self.specs[spec.type] = spec
                self._providers[spec.type] = provider

    def get(self, action_type: str) -> ActionSpec:
        """Return an action; NotFound when there is none of this type."""
        found = self.specs.get(action_type)
        if found is None:
            raise NotFound(f"no action {action_type}: see GET /v1/actions")
        return found

    def provider(self, action_type: str) -> Provider:
        """Return the provider of an action."""
        return self._providers[action_type]

    def optional_connector(self, action_type: str) -> str:
        """Return the connector type that an action takes and does not need; empty when there is none."""
        offered = self._providers[action_type].connectors
        return next((connector.type for connector in offered if connector.optional), "")

    def definition(self, action_type: str) -> dict[str, Any]:
        """Return the wire form of an action."""
        spec = self.get(action_type)
        return {
            "type": spec.type,
            "name": spec.title,
            "description": spec.description,
            "category": spec.category,
            "platform": self.provider(action_type).name,
            "tags": list(spec.tags),
            "operationType": spec.operation,
            "connector": {"type": spec.connector} if spec.connector else None,
            "requiresGas": spec.requires_gas,
            "test": {
                "enabled": spec.operation == "read",
                "disabledReason": "" if spec.operation == "read" else "writes",
            },
            "payloadSchema": schema_of(spec.payload),
            "resultSchema": schema_of(spec.result),
        }

    def connector_definition(self, connector_type: str) -> dict[str, Any]:
        """Return the wire form of a connector type; NotFound when there is none."""
        spec = self.connectors.get(connector_type)
        if spec is None:
            raise NotFound(f"no connector type {connector_type}: see GET /v1/connector-types")
        provider = self._owners[connector_type]
        return {
            "type": spec.type,
            "name": spec.title,
            "description": spec.description,
            "provider": provider.name,
            "dataSchema": schema_of(spec.secret),
            "optional": spec.optional,
            "defaultOnly": False,
            "category": "integration",
            "categories": ["integration"],
            "tags": [provider.name],
        }


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct with its own definitions inside."""
    schema = msgspec.json.schema(struct)
    name = schema.pop("$ref").rsplit("/", 1)[1]
    definitions = schema.pop("$defs")
    own: dict[str, Any] = definitions.pop(name)
    return {**own, "$defs": definitions} if definitions else own
