"""Expressions: a payload of references against plain Python."""

from typing import Any

from b3os._speedups.expression import compile_template
from bench.report import Gate, medians
from tests.reference.expression import walk


def against_model() -> float:
    """Render a payload of 20 references, and walk the same paths in plain Python."""
    scope: dict[str, Any] = {f"n{i}": {"result": {"rows": [{"field": i}]}} for i in range(20)}
    paths = [[f"n{i}", "result", "rows", "0", "field"] for i in range(20)]
    template = compile_template({path[0]: "{{" + ".".join(path) + "}}" for path in paths})

    def ours() -> None:
        for _ in range(2000):
            template.render(scope)

    def plain() -> None:
        for _ in range(2000):
            {path[0]: walk(path, scope) for path in paths}

    fast, slow = medians(15, ours, plain)
    return slow / fast


GATES = (
    Gate(
        name="expressions, times the reference", bar=1.5, at_least=True, measure=against_model, is_quick=True,
        reason="resolving payloads would show in a worker's profile",
    ),
)  # fmt: skip
