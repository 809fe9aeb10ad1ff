"""What a retry keeps of an ended run, and which retries are refused. Pure.

Without a node: everything that finished is kept, failures that were handled among it; the failure that ended the run,
and whatever had not ended, runs again. From a node: it and everything after it runs again, what is before or beside it
is kept. Inside a loop, "after" includes the later iterations, the rest of the loop, and what follows the loop.
"""

from collections.abc import Iterable, Sequence

from b3os.errors import BadInput
from b3os.run.frontier import Head
from b3os.run.transitions import NODE_FINAL
from b3os.workflow.compiled import Compiled

#: The budgets and the deadline of a run: whatever `onError` says, they ended it.
FATAL_CODES = frozenset({"400301", "400351"})


def kept(old: Compiled, new: Compiled, heads: Iterable[Head], start: tuple[str, str] | None) -> list[Head]:
    """Return what is copied into the new run; `start` is node and path, in the graph of the new version."""
    chain = None if start is None else _chain(new, *start)
    found = [head for head in heads if _is_result(old, new, head)]
    return [head for head in found if chain is None or not _is_after(new, chain, head)]


def check_version(new: Compiled, heads: Iterable[Head]) -> None:
    """Refuse a version that has no place for a kept result."""
    nodes = new.definition.nodes
    lacking = sorted({h.node_id for h in heads if h.node_id not in nodes or nodes[h.node_id].type != h.type})
    if lacking:
        raise BadInput(
            f"this version lacks {', '.join(lacking[:5])}, whose results would be kept: retry from a node before",
            code=400355,
        )


def check_start(new: Compiled, node_id: str, path: str) -> str:
    """Return the path of the node to begin at: the first iteration of each loop around it, unless said."""
    if node_id not in new.definition.nodes:
        raise BadInput(f"this version has no node {node_id!r}: choose another node or version", code=400354)
    steps = [f"{loop}:0" for loop in _loops_around(new, node_id)]
    if not path:
        return "/".join(steps)
    given = path.split("/")
    wanted = [step.rpartition(":")[0] for step in steps]
    if [step.rpartition(":")[0] for step in given] != wanted or not all(_index(step) is not None for step in given):
        shape = "/".join(f"{loop}:<iteration>" for loop in wanted) or "empty"
        raise BadInput(f"`path` of {node_id} is {shape}, not {path[:100]!r}", code=400356)
    return path


def _is_result(old: Compiled, new: Compiled, head: Head) -> bool:
    if head.status == "success" or (head.status == "running" and head.type == "for-each"):
        return True
    if head.status != "failure" or head.error_code in FATAL_CODES:
        return False
    before, after = old.definition.nodes.get(head.node_id), new.definition.nodes.get(head.node_id)
    handled = before is not None and before.on_error != "fail" and (after is None or after.on_error != "fail")
    # A call that came back while its run was failing was not tried again.
    return handled and not (before is not None and head.is_retryable and head.attempt <= before.max_retries)


Chain = Sequence[tuple[str, int, frozenset[str]]]


def _chain(new: Compiled, node_id: str, path: str) -> Chain:
    """Return what begins again with its descendants, outermost first: loops with their iteration, then the node."""
    steps = [step.rpartition(":") for step in path.split("/")] if path else []
    levels = [(loop, int(index)) for loop, _, index in steps] + [(node_id, -1)]
    return [(name, index, _descendants(new, name)) for name, index in levels]


def _is_after(new: Compiled, chain: Chain, head: Head) -> bool:
    """Say whether a record is of the node that begins again, or of something after it."""
    steps = [step.rpartition(":") for step in head.path.split("/")] if head.path else []
    names = [(loop, int(index)) for loop, _, index in steps] + [(head.node_id, -1)]
    for (anchor, at, below), (name, index) in zip(chain, names, strict=False):
        if name in below or name == anchor == chain[-1][0]:
            return True
        if name != anchor:
            return False
        if index == -1:  # the loop itself: what it began with stays, that it ended does not
            return head.status in NODE_FINAL
        if index != at:
            return index > at
    return False


def _descendants(new: Compiled, node_id: str) -> frozenset[str]:
    found: set[str] = set()
    todo = [node_id]
    while todo:
        for child in new.definition.nodes[todo.pop()].children:
            if child not in found:
                found.add(child)
                todo.append(child)
    return frozenset(found)


def _loops_around(new: Compiled, node_id: str) -> list[str]:
    found: list[str] = []
    loop = new.graph.loop_of(new.graph.number(node_id))
    while loop != -1:
        found.insert(0, new.graph.ids[loop])
        loop = new.graph.loop_of(loop)
    return found


def _index(step: str) -> int | None:
    index = step.rpartition(":")[2]
    return int(index) if index.isascii() and index.isdigit() and len(index) < 4 else None
