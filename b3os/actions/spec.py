"""What an action is: typed payload and result, words, and how it is carried out."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from b3os.chain.rpc import Rpc
from b3os.chain.signer import Signer
from b3os.net.http import GuardedClient

StructType = type[msgspec.Struct]


class Operation(StrEnum):
    """Whether an action changes something outside."""

    READ = "read"
    WRITE = "write"


class Chains(Protocol):
    """The chains of an installation, as an action sees them."""

    def rpc(self, chain_id: int) -> Rpc:
        """Return the client of a chain; BadInput when it is not configured."""


class HealthProbe(msgspec.Struct, frozen=True, kw_only=True):
    """How the watchdog tries an action: a payload that reads and changes nothing, or why there is none."""

    sample: dict[str, Any] = {}
    waived: str = ""
    interval_s: int = 300


class ActionContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an action gets beside its payload: who it is for, the way out, the connector's credential."""

    http: GuardedClient
    org_id: str
    run_id: str = ""
    node_id: str = ""
    idempotency_key: str = ""
    credential: dict[str, Any] = {}
    chains: Chains
    signer: Signer | None = None


class ActionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One action; `run` gets the decoded payload and returns the result struct, or raises ActionFailed."""

    type: str
    title: str
    description: str
    payload: StructType
    result: StructType
    operation: Operation
    category: str
    run: Callable[[Any, ActionContext], Awaitable[Any]]
    health: HealthProbe
    connector: str | None = None
    requires_gas: bool = False
    tags: tuple[str, ...] = ()


class Provider(msgspec.Struct, frozen=True):
    """A family of actions."""

    name: str
    title: str
    actions: tuple[ActionSpec, ...]
