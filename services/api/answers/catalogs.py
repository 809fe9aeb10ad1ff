"""What there is to build with: node types, actions, connectors."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from services.api.answers.base import Answer


class NodeType(Answer, frozen=True, kw_only=True):
    """A kind of node; a summary leaves the schemas out."""

    type: str
    name: str
    description: str
    category: str
    tags: list[str]
    payload_schema: dict[str, Any] | UnsetType = UNSET
    result_schema: dict[str, Any] | UnsetType = UNSET
    wait_payload_schema: dict[str, Any] | UnsetType = UNSET


class Firing(Answer, frozen=True, kw_only=True):
    """An event of the past; `firesAtBlock` is null where its trigger waits for `safe` or `finalized`."""

    block_number: int
    fires_at_block: int | None
    transaction_hash: str | None
    result: dict[str, Any]


class Backtest(Answer, frozen=True, kw_only=True):
    """When a trigger would have fired in the blocks that were read, newest first; docs/chains.md has the rest."""

    chain_id: int
    head_block: int
    from_block: int | None
    to_block: int | None
    ended_by: Literal["blocks", "limit", "time", "history"]
    items: list[Firing]


class ConnectorNeed(Answer, frozen=True, kw_only=True):
    """The type of connector that an action needs."""

    type: str


class Testing(Answer, frozen=True, kw_only=True):
    """Whether an action may be tried, and why not."""

    enabled: bool
    disabled_reason: str


class Action(NodeType, frozen=True, kw_only=True):
    """An action of the catalog."""

    platform: str
    operation_type: str
    connector: ConnectorNeed | None
    requires_gas: bool
    test: Testing


class ConnectorType(Answer, frozen=True, kw_only=True):
    """A kind of credential; `dataSchema` is what its connectors hold."""

    type: str
    name: str
    provider: str
    description: str
    data_schema: dict[str, Any]
    optional: bool
    default_only: bool
    category: str
    categories: list[str]
    tags: list[str]


class Connector(Answer, frozen=True, kw_only=True):
    """A stored credential, masked."""

    id: str
    organization_id: str
    name: str
    type: str
    provider: str
    description: str
    masked_data: dict[str, str]
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str
