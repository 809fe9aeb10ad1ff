"""Everything that is wrong with a definition, all at once, each with type, node, field and a stable code. Pure."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs
import msgspec

from b3os._speedups.expression import compile_template
from b3os.errors import ExpressionError
from b3os.workflow.definition import Definition, Node, parents_of

MAX_DEPTH = 10
BRANCHES = {"if": {"then", "else"}, "wait": {"resumed", "timed_out"}}


class TypeInfo(msgspec.Struct, frozen=True):
    """What validation knows of a node type; `kind` is trigger, logic or action."""

    kind: str
    payload_schema: dict[str, Any]
    connector: str | None = None


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One problem; `type` is name, nodes, root, connectivity, pattern or variable."""

    type: str
    message: str
    node_id: str = ""
    node_name: str = ""
    field: str = ""
    code: str = ""


def validate(definition: Definition, types: Mapping[str, TypeInfo], name: str = "Untitled") -> list[Problem]:
    """Return every problem; an empty list means that the definition can be published."""
    problems: list[Problem] = []
    if not name.strip():
        problems.append(Problem("name", "a workflow needs a name", code="name_missing"))
    problems += _roots(definition, types)
    problems += _edges(definition)
    for node_id, node in definition.nodes.items():
        problems += _type(definition, node_id, node, types)
    if not any(problem.code in ("missing_node", "cycle", "root_missing") for problem in problems):
        problems += _reach(definition)
        ancestors = _ancestors(definition)
        for node_id, node in definition.nodes.items():
            problems += _expressions(definition, node_id, node, ancestors[node_id])
    return problems


def _problem(kind: str, code: str, message: str, node_id: str, node: Node | None = None, field: str = "") -> Problem:
    return Problem(kind, message, node_id, (node.title_override if node else "") or node_id, field, code)


def _roots(definition: Definition, types: Mapping[str, TypeInfo]) -> Iterator[Problem]:
    for node_id in definition.trigger_node_ids:
        node = definition.nodes.get(node_id)
        if node is None:
            yield _problem("root", "root_missing", f"the trigger node {node_id!r} is missing", node_id)
        elif node.type in types and types[node.type].kind != "trigger":
            yield _problem("root", "root_not_trigger", f"{node.type} is not a trigger", node_id, node, "type")


def _type(definition: Definition, node_id: str, node: Node, types: Mapping[str, TypeInfo]) -> Iterator[Problem]:
    info = types.get(node.type)
    if info is None:
        yield _problem("nodes", "unknown_type", f"{node.type!r} is no known type", node_id, node, "type")
        return
    if info.kind == "trigger" and node_id not in definition.trigger_node_ids:
        yield _problem("nodes", "trigger_inside", "a trigger can only be a trigger node", node_id, node, "type")
    for error in jsonschema_rs.validator_for(info.payload_schema).iter_errors(node.payload):
        path = ".".join(str(part) for part in error.instance_path)
        if not _is_dynamic(node.payload, list(error.instance_path)):
            yield _problem("nodes", "payload_invalid", error.message, node_id, node, f"payload.{path}".rstrip("."))
    if node.loop_body and node.type != "for-each":
        yield _problem("nodes", "loop_body_misplaced", "only for-each has a loopBody", node_id, node, "loopBody")


def _is_dynamic(value: Any, path: list[Any]) -> bool:
    for part in path:
        value = value[part]
    return isinstance(value, str) and "{{" in value


def _edges(definition: Definition) -> Iterator[Problem]:
    parents = parents_of(definition)
    for node_id, node in definition.nodes.items():
        for field, targets in (("children", node.children), ("loopBody", node.loop_body)):
            for child in targets:
                if child not in definition.nodes:
                    message = f"{field} names {child!r}, which does not exist"
                    yield _problem("connectivity", "missing_node", message, node_id, node, field)
        allowed = {b for p in parents[node_id] for b in BRANCHES.get(definition.nodes[p].type, ())}
        if node.branch is not None and node.branch not in allowed:
            message = f"branch {node.branch!r} fits no parent: {', '.join(sorted(allowed)) or 'none has branches'}"
            yield _problem("pattern", "bad_branch", message, node_id, node, "branch")
        if node.branch is None and allowed:
            message = (
                f"a child of {'/'.join(sorted({definition.nodes[p].type for p in parents[node_id]}))} needs a branch"
            )
            yield _problem("pattern", "branch_missing", message, node_id, node, "branch")
    yield from _cycles(definition)


def _cycles(definition: Definition) -> Iterator[Problem]:
    """Kahn's algorithm: whatever never becomes free is on a cycle, or behind one."""
    known = definition.nodes
    edges = {n: [c for c in (*known[n].children, *known[n].loop_body) if c in known] for n in known}
    incoming = dict.fromkeys(known, 0)
    for targets in edges.values():
        for target in targets:
            incoming[target] += 1
    free = deque(node_id for node_id, count in incoming.items() if not count)
    while free:
        for target in edges[free.popleft()]:
            incoming[target] -= 1
            if not incoming[target]:
                free.append(target)
    stuck = [node_id for node_id, count in incoming.items() if count]
    if stuck:
        yield _problem(
            "connectivity", "cycle", f"these nodes form a cycle: {', '.join(stuck)}", stuck[0], known[stuck[0]]
        )


def _reach(definition: Definition) -> Iterator[Problem]:
    depth = dict.fromkeys(definition.trigger_node_ids, 0)
    todo = deque(depth)
    while todo:
        node_id = todo.popleft()
        node = definition.nodes[node_id]
        for child in (*node.children, *node.loop_body):
            level = depth[node_id] + (child in node.loop_body)
            if child not in depth or level > depth[child]:
                depth[child] = level
                todo.append(child)
    for node_id, node in definition.nodes.items():
        if node_id not in depth:
            yield _problem("connectivity", "unreachable", "no trigger leads to this node", node_id, node)
        elif depth[node_id] > MAX_DEPTH:
            yield _problem("pattern", "loop_too_deep", f"loops nest at most {MAX_DEPTH} deep", node_id, node)


def _ancestors(definition: Definition) -> dict[str, set[str]]:
    """Map each node to all nodes that surely or possibly ran before it; bodies see what their loop sees."""
    parents = parents_of(definition)
    found: dict[str, set[str]] = {}
    for start in definition.nodes:
        seen: set[str] = set()
        todo = deque(parents[start])
        while todo:
            current = todo.popleft()
            if current not in seen:
                seen.add(current)
                todo.extend(parents[current])
        found[start] = seen
    return found


def _expressions(definition: Definition, node_id: str, node: Node, ancestors: set[str]) -> Iterator[Problem]:
    try:
        references = compile_template(node.payload).references
    except ExpressionError as error:
        yield _problem("variable", "bad_expression", error.message, node_id, node, f"payload.{error.field}".rstrip("."))
        return
    always = {"root", "trigger", *definition.trigger_node_ids}
    for path in references:
        target = path[1] if path[0] == "$nodes" and len(path) > 1 else path[0]
        if target.startswith("$") or target in always or target in ancestors:
            continue
        known = target in definition.nodes
        code = "reference_not_ancestor" if known else "reference_unknown"
        reason = "does not run before this node" if known else "is no node"
        yield _problem("variable", code, f"{{{{{'.'.join(path)}}}}}: {target!r} {reason}", node_id, node, "payload")
