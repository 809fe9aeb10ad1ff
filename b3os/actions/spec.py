"""What an action is: typed payload and result, words, and one way to be carried out. Data, but for `run`.

An action that is one HTTP call or one contract call is a declaration (`HttpCall`, `ContractCall`); one with two calls,
a branch or arithmetic is a function. `{name}` in a declaration is a payload field, `{secret:name}` a credential's.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from b3os.actions.upstreams import Upstreams
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


class HttpCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the provider's base URL, and where its result is in the JSON answer.

    `query` and `body` map the upstream's names to payload fields; a field that is None or empty is left out, a list is
    joined with commas in a query. `fixed` are query members that never change. `fields` maps result fields (a dot goes
    inside) to dotted paths of the answer, "" being all of it; `echo` copies payload fields into the result.
    `ok` names a member that is false when a status of 200 is none, `reasons` what its codes in `error_at` mean.
    """

    method: str
    path: str
    query: dict[str, str] = {}
    fixed: dict[str, str] = {}
    body: dict[str, str] = {}
    headers: dict[str, str] = {}
    fields: dict[str, str] = {}
    echo: dict[str, str] = {}
    ok: str = ""
    error_at: str = ""
    reasons: dict[str, str] = {}


class ContractCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a contract: a read, or a transaction when the spec's operation is a write.

    `to` and `args` name payload fields; `chain_id` is the payload's. `fields` maps result fields to the number of a
    returned value; a write returns status, transactionHash and blockNumber beside what `echo` copies.
    """

    signature: str
    to: str
    args: tuple[str, ...] = ()
    fields: dict[str, int] = {}
    echo: dict[str, str] = {}


class HealthProbe(msgspec.Struct, frozen=True, kw_only=True):
    """How the watchdog tries an action: a payload that reads and changes nothing, or why there is none."""

    sample: dict[str, Any] = {}
    waived: str = ""
    interval_s: int = 300


class ConnectorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of credential. `headers` places it in every request; an `optional` one may be left out of a node."""

    type: str
    title: str
    description: str
    secret: StructType
    headers: dict[str, str] = {}
    optional: bool = False


class ActionContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an action gets beside its payload: who it is for, the ways out, the connector's credential."""

    http: GuardedClient
    upstreams: Upstreams
    chains: Chains
    signer: Signer | None = None
    org_id: str = ""
    run_id: str = ""
    node_id: str = ""
    idempotency_key: str = ""
    credential: dict[str, Any] = {}


class ActionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One action. Exactly one of `call` and `run`; `run` gets the decoded payload and returns the result struct."""

    type: str
    title: str
    description: str
    payload: StructType
    result: StructType
    operation: Operation
    category: str
    health: HealthProbe
    call: HttpCall | ContractCall | None = None
    run: Callable[[Any, ActionContext], Awaitable[Any]] | None = None
    connector: str | None = None
    requires_gas: bool = False
    tags: tuple[str, ...] = ()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A family of actions of one upstream; `base_url` is empty where each action names its own address."""

    name: str
    title: str
    actions: tuple[ActionSpec, ...]
    base_url: str = ""
    connectors: tuple[ConnectorSpec, ...] = ()
