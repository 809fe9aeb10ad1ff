"""One thing that is wrong with a definition."""

import msgspec

from b3os.workflow.definition import Node


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One problem; `type` is name, nodes, root, connectivity, pattern or variable."""

    type: str
    message: str
    node_id: str = ""
    node_name: str = ""
    field: str = ""
    code: str = ""


def problem(kind: str, code: str, message: str, node_id: str, node: Node | None = None, field: str = "") -> Problem:
    """Name the node by its title, where it has one."""
    return Problem(kind, message, node_id, (node.title_override if node else "") or node_id, field, code)
