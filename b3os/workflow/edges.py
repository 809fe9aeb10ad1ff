"""What is wrong with a definition's edges, and with the limits of its runs: nodes, loops, retries, deadlines. Pure.

Everything is linear in nodes and edges: a definition comes from outside, and has up to 10,000 nodes.
"""

from collections import deque
from collections.abc import Iterator

from b3os._speedups.dag import MAX_DEPTH, MAX_ITERATIONS, MAX_NODES
from b3os.workflow.definition import ARMS, ERROR_ARM, Definition, Node, arms_of, parents_of
from b3os.workflow.problems import Problem, problem

RETRIES_LIMIT = 10
CALL_LIMIT_MS = 600_000
RUN_LIMIT_MS = 90 * 24 * 3600 * 1000


def check_edges(definition: Definition) -> list[Problem]:
    """Return every problem of the edges alone."""
    missing = list(_missing(definition))
    found = [*missing, *_branches(definition), *_arrays(definition), *_limits(definition)]
    if len(definition.nodes) > MAX_NODES:
        message = f"a workflow has at most {MAX_NODES} nodes, this one has {len(definition.nodes)}: split it"
        return [*found, Problem("pattern", message, code="too_many_nodes")]
    order, stuck = ordered(definition)
    if stuck:
        names = ", ".join(stuck[:10]) + (", …" if len(stuck) > 10 else "")
        message = f"these nodes form a cycle: {names}"
        found.append(problem("connectivity", "cycle", message, stuck[0], definition.nodes[stuck[0]]))
    elif not missing and definition.nodes.keys() >= set(definition.trigger_node_ids):
        found += [*_depths(definition, order), *_leaks(definition)]
    return found


def ordered(definition: Definition) -> tuple[list[str], list[str]]:
    """Return the nodes in an order in which parents come first, and those on or behind a cycle (Kahn)."""
    incoming = dict.fromkeys(definition.nodes, 0)
    for node_id in definition.nodes:
        for target in _targets(definition, node_id):
            incoming[target] += 1
    order = [node_id for node_id, count in incoming.items() if not count]
    for node_id in order:
        for target in _targets(definition, node_id):
            incoming[target] -= 1
            if not incoming[target]:
                order.append(target)
    return order, [node_id for node_id, count in incoming.items() if count]


def _targets(definition: Definition, node_id: str) -> list[str]:
    node = definition.nodes[node_id]
    return [target for target in (*node.children, *node.loop_body) if target in definition.nodes]


def _missing(definition: Definition) -> Iterator[Problem]:
    for node_id, node in definition.nodes.items():
        for field, targets in (("children", node.children), ("loopBody", node.loop_body)):
            for child in targets:
                if child not in definition.nodes:
                    message = f"{field} names {child!r}, which does not exist"
                    yield problem("connectivity", "missing_node", message, node_id, node, field)


def _branches(definition: Definition) -> Iterator[Problem]:
    nodes, parents = definition.nodes, parents_of(definition)
    for node_id, node in nodes.items():
        above = [nodes[parent] for parent in parents[node_id]]
        allowed = {arm for parent in above for arm in arms_of(parent)}
        if node.branch is not None and node.branch not in allowed:
            message = f"branch {node.branch!r} fits no parent: {', '.join(sorted(allowed)) or 'none has branches'}"
            yield problem("pattern", "bad_branch", message, node_id, node, "branch")
        choosing = sorted({parent.type for parent in above if parent.type in ARMS})
        if node.branch is None and choosing:
            message = f"a child of {'/'.join(choosing)} needs a branch"
            yield problem("pattern", "branch_missing", message, node_id, node, "branch")
        yield from _handling(definition, node_id, node)


def _handling(definition: Definition, node_id: str, node: Node) -> Iterator[Problem]:
    if node.on_error not in ("fail", "continue", "branch"):
        message = f"`onError` is fail, continue or branch, not {node.on_error!r}"
        yield problem("pattern", "bad_on_error", message, node_id, node, "onError")
    known = [definition.nodes[child] for child in node.children if child in definition.nodes]
    if node.on_error == "branch" and not any(child.branch == ERROR_ARM for child in known):
        message = 'a node with `onError: "branch"` needs a child with branch `error`'
        yield problem("pattern", "error_branch_missing", message, node_id, node, "onError")


def _limits(definition: Definition) -> Iterator[Problem]:
    """Find retries and deadlines out of their bounds."""
    if definition.timeout_ms is not None and not 1000 <= definition.timeout_ms <= RUN_LIMIT_MS:
        message = f"`timeoutMs` of a run is 1000 to {RUN_LIMIT_MS} (90 days), not {definition.timeout_ms}"
        yield Problem("pattern", message, field="timeoutMs", code="bad_timeout")
    for node_id, node in definition.nodes.items():
        if not 0 <= node.max_retries <= RETRIES_LIMIT:
            message = f"`maxRetries` is 0 to {RETRIES_LIMIT}, not {node.max_retries}"
            yield problem("pattern", "bad_max_retries", message, node_id, node, "maxRetries")
        if node.timeout_ms is not None and not 1 <= node.timeout_ms <= CALL_LIMIT_MS:
            message = f"`timeoutMs` of a node is 1 to {CALL_LIMIT_MS} (10 minutes), not {node.timeout_ms}"
            yield problem("pattern", "bad_timeout", message, node_id, node, "timeoutMs")


def _arrays(definition: Definition) -> Iterator[Problem]:
    for node_id, node in definition.nodes.items():
        items = node.payload.get("array")
        if node.type == "for-each" and isinstance(items, list) and len(items) > MAX_ITERATIONS:
            message = f"a loop runs at most {MAX_ITERATIONS} times, this list has {len(items)} items: split it"
            yield problem("pattern", "too_many_items", message, node_id, node, "payload.array")


def _depths(definition: Definition, order: list[str]) -> Iterator[Problem]:
    """Find what no trigger leads to, and loops too deep."""
    depth: dict[str, int] = dict.fromkeys(definition.trigger_node_ids, 0)
    for node_id in order:
        if node_id not in depth:
            continue
        node = definition.nodes[node_id]
        for level, targets in ((depth[node_id], node.children), (depth[node_id] + 1, node.loop_body)):
            for target in targets:
                depth[target] = max(depth.get(target, 0), level)
    for node_id, node in definition.nodes.items():
        if node_id not in depth:
            yield problem("connectivity", "unreachable", "no trigger leads to this node", node_id, node)
        elif depth[node_id] > MAX_DEPTH:
            yield problem("pattern", "loop_too_deep", f"loops nest at most {MAX_DEPTH} deep", node_id, node)


def _leaks(definition: Definition) -> Iterator[Problem]:
    """Find nodes that are inside a loop and outside of it, or in two loops: where would their results be?"""
    scope: dict[str, str] = {}
    entries = [("", child) for root in definition.trigger_node_ids for child in definition.nodes[root].children]
    entries += [(loop, child) for loop, node in definition.nodes.items() for child in node.loop_body]
    todo = deque(entries)
    told: set[str] = set()
    while todo:
        place, node_id = todo.popleft()
        held = scope.get(node_id)
        if held is None:
            scope[node_id] = place
            todo.extend((place, child) for child in definition.nodes[node_id].children)
        elif held != place and node_id not in told:
            told.add(node_id)
            message = "this node is inside a loop and outside of it: what follows a loop is in its `children`"
            yield problem("connectivity", "loop_leads_out", message, node_id, definition.nodes[node_id])
