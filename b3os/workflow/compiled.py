"""A definition and what is derived from it once per version: its graph, and its nodes' templates. Pure.

Every run of a version shares one of these. Nodes have numbers, in the order of the definition's map.
"""

from functools import cached_property
from typing import Any

from b3os._speedups.dag import Cursor, Graph
from b3os._speedups.expression import Template, compile_template
from b3os.errors import ExpressionError, InvalidDefinition
from b3os.workflow.definition import Definition, Node, arms_of


class Compiled:
    """The compiled form of one workflow version; raises InvalidDefinition for what is no graph."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.graph = graph_of(definition)
        self.nodes: tuple[Node, ...] = tuple(definition.nodes.values())
        self._ids = tuple(definition.nodes)
        self._templates: list[Template | None] = [None] * len(self.nodes)

    def cursor(self, trigger_node: str) -> Cursor:
        """Return the cursor of a run that a trigger node began; raises InvalidDefinition for any other node."""
        if trigger_node not in self.definition.trigger_node_ids:
            raise InvalidDefinition(f"{trigger_node!r} is no trigger node of this definition: no run can begin there")
        return Cursor(self.graph, self.graph.number(trigger_node))

    @cached_property
    def uses_storage(self) -> bool:
        """Whether a run may look at the workflow's storage; only then it has to be loaded."""
        return any(node.type == "storage" or self._refers(number, "$storage") for number, node in enumerate(self.nodes))

    def _refers(self, number: int, name: str) -> bool:
        try:
            return any(path[0] == name for path in self.template(number).references)
        except ExpressionError:
            return False  # its node fails before it reads anything

    def template(self, number: int) -> Template:
        """Return the parsed payload of a node; raises ExpressionError."""
        found = self._templates[number]
        if found is None:
            found = self._templates[number] = template_of(self.nodes[number])
        return found

    def render(self, number: int, scopes: dict[str, Any] | tuple[dict[str, Any], ...]) -> Any:
        """Return a node's payload with every expression replaced; an ExpressionError names the node."""
        try:
            return self.template(number).render(scopes)
        except ExpressionError as error:
            raise error.at_node(self._ids[number]) from None


def template_of(node: Node) -> Template:
    """Parse a node's payload; the text that `format` renders once more per item takes data as literals."""
    return compile_template(node.payload, per_item="template" if node.type == "format" else None)


def graph_of(definition: Definition) -> Graph:
    """Compile the edges; one has a label where the child's `branch` is an arm of this parent."""
    nodes = definition.nodes
    place = {node_id: number for number, node_id in enumerate(nodes)}
    try:
        return Graph(
            tuple(nodes),
            [[place[child] for child in node.children] for node in nodes.values()],
            [[arm_of(node, nodes[child]) for child in node.children] for node in nodes.values()],
            [[place[child] for child in node.loop_body] for node in nodes.values()],
            [place[node_id] for node_id in definition.trigger_node_ids],
        )
    except KeyError as error:
        raise InvalidDefinition(f"the definition leads to {error.args[0]!r}, which is no node: add it") from error
    except ValueError as error:
        raise InvalidDefinition(f"the definition is no graph that can run: {error}. Validate it.") from error


def arm_of(parent: Node, child: Node) -> str | None:
    """Return the arm of `parent` that leads to `child`, None when it is reached however the parent ends."""
    return child.branch if child.branch in arms_of(parent) else None
