"""Expressions: ten references in a nested payload against a run of fifty nodes."""

from typing import Any

from jinja2.nativetypes import NativeEnvironment

from b3os._speedups.expression import compile_template
from bench.report import Gate, medians, remark
from tests.reference.expression import render

ROUNDS = 500
REFERENCES = 10
STATE: dict[str, Any] = {
    f"node{n}": {"result": {"a": {"b": [{"c": f"v{n}", "n": n * 1.5}, {"c": "x"}]}, "hash": f"0x{n:064x}"}}
    for n in range(50)
}
R = ["{{node%d.result.a.b[0].%s}}" % (n * 5, "c" if n % 2 else "n") for n in range(REFERENCES)]  # noqa: UP031
PAYLOAD: dict[str, Any] = {
    "to": R[0],
    "amount": R[1],
    "meta": {"note": f"paid {R[2]} to {R[3]}", "list": [R[4], {"deep": {"er": R[5]}}, 7, None, "plain text"]},
    "headers": {"x-a": R[6], "x-b": f"b-{R[7]}"},
    "body": {"k": R[8], "z": R[9], "const": "no refs here"},
}
TEMPLATE, SCOPES = compile_template(PAYLOAD), (STATE,)


def ours() -> None:
    """Render the payload, parsed before."""
    for _ in range(ROUNDS):
        TEMPLATE.render(SCOPES)


def texts(value: Any) -> list[str]:
    """Return the strings of a payload that refer to something."""
    if isinstance(value, str):
        return [value] if "{{" in value else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in texts(part)]


def against_jinja() -> float:
    """Jinja2 evaluates the strings alone, each compiled before; ours builds the payload too."""
    environment = NativeEnvironment()
    templates = [environment.from_string(text) for text in texts(PAYLOAD)]
    few = ROUNDS // 20
    fast, slow = medians(9, ours, lambda: [t.render(STATE) for _ in range(few) for t in templates])
    return slow / few / (fast / ROUNDS)


def against_model() -> float:
    """The reference model, which parses each time."""
    few = ROUNDS // 20
    fast, slow = medians(9, ours, lambda: [render(PAYLOAD, (STATE,)) for _ in range(few)])
    return slow / few / (fast / ROUNDS)


def reference_ns() -> float:
    """Nanoseconds a reference, the building of the payload included."""
    (taken,) = medians(25, ours)
    remark(f"one payload: {taken / ROUNDS * 1e6:.2f} µs")
    return taken / ROUNDS / REFERENCES * 1e9


GATES = (
    Gate(
        name="expressions: Jinja2 native / ours", bar=36, at_least=True, measure=against_jinja, is_quick=True,
        reason="resolving payloads would show in a worker's profile",
    ),
    Gate(
        name="expressions: reference model / ours", bar=36, at_least=True, measure=against_model, is_quick=True,
        reason="compiling would not pay",
    ),
    Gate(
        name="expressions: one reference", unit="ns", bar=250, measure=reference_ns,
        reason="resolving payloads would show in a worker's profile",
    ),
)  # fmt: skip
