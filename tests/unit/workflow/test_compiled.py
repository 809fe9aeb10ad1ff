"""What a compiled version knows about itself before any run."""

from typing import Any

import pytest

from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise


def compiled(kind: str, payload: Any) -> Compiled:
    """Compile a trigger and one node."""
    root = {"type": "manual", "payload": {}, "children": ["a"]}
    return Compiled(normalise({"nodes": {"root": root, "a": {"type": kind, "payload": payload, "children": []}}}))


@pytest.mark.parametrize(
    ("kind", "payload", "uses"),
    [
        ("log", {"message": "{{$trigger.body.storage}}"}, False),
        ("log", {"message": "$storage.key"}, False),
        ("log", {"message": "{{"}, False),
        ("log", {"message": "{{$storage.key}}"}, True),
        ("log", {"message": {"deep": [{"{{$storage.key}}": 1}]}}, True),
        ("log", {"message": "{{$storage}}"}, True),
        ("if", {"condition": {"$and": [{"{{$storage.count}}": {"$gte": 1}}]}}, True),
        ("format", {"template": "{{$storage.key}} {{@n}}", "data": {"n": 1}}, True),
        ("storage", {"key": "count", "value": 1}, True),
    ],
)
def test_a_version_knows_whether_it_looks_at_storage(kind: str, payload: Any, uses: bool) -> None:
    assert compiled(kind, payload).uses_storage is uses
