"""Everything that is wrong with a definition, all at once, each with type, node, field and a stable code. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
import msgspec

from b3os.errors import ExpressionError
from b3os.workflow.compiled import template_of
from b3os.workflow.definition import Definition, Node
from b3os.workflow.edges import check_edges, ordered
from b3os.workflow.problems import Problem, problem
from b3os.workflow.variables import is_of, variable_problems, variables_of

#: With these, what runs before a node cannot be told.
INCOMPLETE = frozenset({"missing_node", "cycle", "root_missing", "too_many_nodes"})


class TypeInfo(msgspec.Struct, frozen=True):
    """What validation knows of a node type; `kind` is trigger, logic or action."""

    kind: str
    payload_schema: dict[str, Any]
    connector: str | None = None


def validate(definition: Definition, types: Mapping[str, TypeInfo], name: str = "Untitled") -> list[Problem]:
    """Return every problem; an empty list means that the definition can be published."""
    problems: list[Problem] = []
    if not name.strip():
        problems.append(Problem("name", "a workflow needs a name", code="name_missing"))
    problems += _roots(definition, types)
    problems += check_edges(definition)
    problems += _variables(definition)
    schemas = {kind: jsonschema_rs.validator_for(types[kind].payload_schema) for kind in _known(definition, types)}
    for node_id, node in definition.nodes.items():
        problems += _type(definition, node_id, node, types, schemas.get(node.type))
    if not any(found.code in INCOMPLETE for found in problems):
        ancestors = Ancestors(definition)
        for node_id, node in definition.nodes.items():
            problems += _expressions(definition, node_id, node, ancestors)
    return problems


def _roots(definition: Definition, types: Mapping[str, TypeInfo]) -> Iterator[Problem]:
    for node_id in definition.trigger_node_ids:
        node = definition.nodes.get(node_id)
        if node is None:
            yield problem("root", "root_missing", f"the trigger node {node_id!r} is missing", node_id)
        elif node.type in types and types[node.type].kind != "trigger":
            yield problem("root", "root_not_trigger", f"{node.type} is not a trigger", node_id, node, "type")


def _known(definition: Definition, types: Mapping[str, TypeInfo]) -> set[str]:
    return {node.type for node in definition.nodes.values()} & types.keys()


def _type(
    definition: Definition, node_id: str, node: Node, types: Mapping[str, TypeInfo], schema: Any
) -> Iterator[Problem]:
    info = types.get(node.type)
    if info is None:
        yield problem("nodes", "unknown_type", f"{node.type!r} is no known type", node_id, node, "type")
        return
    if info.kind == "trigger" and node_id not in definition.trigger_node_ids:
        yield problem("nodes", "trigger_inside", "a trigger can only be a trigger node", node_id, node, "type")
    for error in schema.iter_errors(node.payload):
        path = ".".join(str(part) for part in error.instance_path)
        if not _is_dynamic(node.payload, list(error.instance_path)):
            yield problem("nodes", "payload_invalid", error.message, node_id, node, f"payload.{path}".rstrip("."))
    if node.loop_body and node.type != "for-each":
        yield problem("nodes", "loop_body_misplaced", "only for-each has a loopBody", node_id, node, "loopBody")


def _variables(definition: Definition) -> Iterator[Problem]:
    for message in variable_problems(definition.variable_defs):
        yield Problem("variable", message, field="variableDefs", code="variable_invalid")
    known = variables_of(definition.variable_defs)
    for node_id, node in definition.nodes.items():
        name, value = node.payload.get("name"), node.payload.get("value")
        if node.type != "set-variable" or not isinstance(name, str) or "{{" in name:
            continue
        if name not in known:
            message = f"{name!r} is not in variableDefs"
            yield problem("variable", "variable_unknown", message, node_id, node, "payload.name")
        elif not is_of(known[name].type, value) and not (isinstance(value, str) and "{{" in value):
            message = f"{name} holds a {known[name].type}"
            yield problem("variable", "pure_variable_type_mismatch", message, node_id, node, "payload.value")


def _is_dynamic(value: Any, path: list[Any]) -> bool:
    for part in path:
        value = value[part]
    return isinstance(value, str) and "{{" in value


class Ancestors:
    """Which nodes surely or possibly run before each node; a body sees what its loop sees. A bit for each node."""

    def __init__(self, definition: Definition) -> None:
        self._place = {node_id: number for number, node_id in enumerate(definition.nodes)}
        self._masks = [0] * len(self._place)
        for node_id in ordered(definition)[0]:
            node, number = definition.nodes[node_id], self._place[node_id]
            seen = self._masks[number] | 1 << number
            for child in (*node.children, *node.loop_body):
                self._masks[self._place[child]] |= seen

    def holds(self, node_id: str, before: str) -> bool:
        """Say whether `before` runs before a node."""
        place = self._place.get(before)
        return place is not None and bool(self._masks[self._place[node_id]] >> place & 1)


def _expressions(definition: Definition, node_id: str, node: Node, ancestors: Ancestors) -> Iterator[Problem]:
    try:
        references = template_of(node).references
    except ExpressionError as error:
        error.at_node(node_id)
        yield problem("variable", "bad_expression", error.message, node_id, node, f"payload.{error.field}".rstrip("."))
        return
    always = {"root", "trigger", *definition.trigger_node_ids}
    declared = variables_of(definition.variable_defs)
    for path in references:
        if path[0] == "$vars" and len(path) > 1 and path[1] not in declared:
            message = f"{{{{{'.'.join(path)}}}}}: {path[1]!r} is not in variableDefs"
            yield problem("variable", "variable_unknown", message, node_id, node, "payload")
        target = path[1] if path[0] == "$nodes" and len(path) > 1 else path[0]
        if target.startswith("$") or target in always or ancestors.holds(node_id, target):
            continue
        known = target in definition.nodes
        code = "reference_not_ancestor" if known else "reference_unknown"
        reason = "does not run before this node" if known else "is no node"
        yield problem("variable", code, f"{{{{{'.'.join(path)}}}}}: {target!r} {reason}", node_id, node, "payload")
