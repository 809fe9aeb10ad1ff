"""What a workflow is: nodes by id, and the older generation normalised on the way in.

Wire words are camelCase; the canonical form is `nodes` with `root` as the trigger (docs: b3os definition §1.2). The
older form (`trigger` beside `nodes`, `props`, colon ids, connector names) is accepted and never written.
"""

from typing import Any

import msgspec

from b3os.errors import InvalidDefinition

#: The arms of a node type: a child's `branch` names one of them.
ARMS: dict[str, frozenset[str]] = {
    "if": frozenset({"then", "else"}),
    "wait": frozenset({"resumed", "timed_out"}),
}
ERROR_ARM = "error"


class ConnectorRef(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Which stored connector a node uses; `id` may be chosen later."""

    type: str
    id: str = ""


class Node(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One vertex. `branch` names the arm of the parent it belongs to; `loop_body` is for for-each only."""

    type: str
    payload: dict[str, Any] = msgspec.field(default_factory=dict)
    children: list[str] = msgspec.field(default_factory=list)
    branch: str | None = None
    connector: ConnectorRef | None = None
    loop_body: list[str] = msgspec.field(default_factory=list)
    description: str = ""
    title_override: str = ""
    #: `fail` ends the run when this node fails; `continue` goes on, the error readable at `$nodes.<id>.error`;
    #: `branch` goes on with the children of branch `error` only, and without them when the node succeeds.
    on_error: str = "fail"
    #: How often a call is tried again after an error that may be retried.
    max_retries: int = 0
    #: How long one attempt of a call may take.
    timeout_ms: int | None = None


class Definition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A whole workflow definition in the canonical form."""

    nodes: dict[str, Node]
    trigger_node_ids: list[str] = msgspec.field(default_factory=lambda: ["root"])
    input_schema: list[dict[str, Any]] = msgspec.field(default_factory=list)
    variable_defs: list[dict[str, Any]] = msgspec.field(default_factory=list)
    props: dict[str, Any] = msgspec.field(default_factory=dict)
    #: How long a run may last, waits included.
    timeout_ms: int | None = None


def normalise(raw: Any) -> Definition:
    """Read either generation; raises InvalidDefinition with the place that is wrong."""
    if not isinstance(raw, dict):
        raise InvalidDefinition("a definition is a JSON object with `nodes`")
    canonical = _from_older(raw) if "trigger" in raw else dict(raw)
    nodes = canonical.get("nodes")
    if not isinstance(nodes, dict):
        raise InvalidDefinition("`nodes` is missing: it maps node ids to nodes", details=[{"field": "nodes"}])
    canonical["nodes"] = {str(key): _node(node) for key, node in nodes.items()}
    if not canonical.get("triggerNodeIds"):
        canonical["triggerNodeIds"] = ["root"]
    try:
        return msgspec.convert({k: v for k, v in canonical.items() if v is not None}, Definition)
    except msgspec.ValidationError as error:
        raise InvalidDefinition(
            f"the definition has a wrong type: {error}", details=[{"message": str(error)}]
        ) from error


def to_wire(definition: Definition) -> dict[str, Any]:
    """Return the canonical JSON form, with `payload` and `children` always present."""
    wire: dict[str, Any] = msgspec.to_builtins(definition)
    for node in wire["nodes"].values():
        node.setdefault("payload", {})
        node.setdefault("children", [])
    wire["triggerNodeIds"] = definition.trigger_node_ids
    return wire


def arms_of(node: Node) -> frozenset[str]:
    """Return the branches that children of a node may carry."""
    own = ARMS.get(node.type, frozenset())
    return own | {ERROR_ARM} if node.on_error == "branch" else own


def trigger_payload(node: Node) -> dict[str, Any]:
    """Return what a source is told of a trigger node: its payload, and the connector beside it."""
    if node.connector is None:
        return node.payload
    return {**node.payload, "connector": {"type": node.connector.type, "id": node.connector.id}}


def parents_of(definition: Definition) -> dict[str, list[str]]:
    """Map each node to the nodes that list it in `children` or `loopBody`, in the order of the map."""
    found: dict[str, list[str]] = {node_id: [] for node_id in definition.nodes}
    for node_id, node in definition.nodes.items():
        for child in (*node.children, *node.loop_body):
            if child in found and node_id not in found[child]:
                found[child].append(node_id)
    return found


def _from_older(raw: dict[str, Any]) -> dict[str, Any]:
    trigger = raw["trigger"]
    if not isinstance(trigger, dict):
        raise InvalidDefinition("`trigger` is an object with type, props and children", details=[{"field": "trigger"}])
    rest = {key: value for key, value in raw.items() if key != "trigger"}
    nodes = rest.get("nodes")
    return {**rest, "nodes": {"root": trigger, **(nodes if isinstance(nodes, dict) else {})}}


def _node(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    node = {key: value for key, value in raw.items() if value is not None}
    if "payload" not in node and "props" in node:
        node["payload"] = node["props"]
    if isinstance(node.get("type"), str):
        node["type"] = node["type"].replace(":", "-")
    if isinstance(node.get("connector"), str):
        node["connector"] = {"type": node["connector"]}
    return node
