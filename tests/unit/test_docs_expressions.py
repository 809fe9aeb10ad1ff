"""Every example of docs/expressions.md, in a run of the definition that the page shows.

An example is a line `template → value`. The template becomes the message of the node that the page names, `end` or, in
a loop, `line`; `if {…}`, `filter {…}` and `format {…}` become a node of that type instead.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from b3os._speedups import expression
from b3os.detect.webhooks import webhook_result
from b3os.run.commands import CallAction, FinishRun, Record
from b3os.run.events import NodeDone, Start
from b3os.run.records import NodeRecord
from b3os.run.scheduler import RunScheduler
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise

PAGE = (Path(__file__).parents[2] / "docs/expressions.md").read_text()
LOOP = "in a loop: "
EXAMPLE = re.compile(r"^ {4}(\S.*?) +→ (.+)$", re.MULTILINE)
REFUSED = re.compile(r"(\d{6}): (.+)")
EXAMPLES = EXAMPLE.findall(PAGE)
OTHER_NODE = re.compile(r"(if|filter|format) (\{.*\})")


def shown_after(words: str) -> Any:
    """Read the JSON block that follows these words."""
    block = PAGE.split(words)[1].split("\n\n")[1]
    return json.loads(block)


def storage() -> dict[str, Any]:
    """Read what the page says that the workflow's storage holds."""
    return dict(json.loads(PAGE.split("its storage holds `")[1].split("`")[0]))


def run_with(node_id: str, node: dict[str, Any]) -> NodeRecord:
    """Run the page's workflow with this node in the place of its own; returns the node's last record."""
    raw = shown_after("## The run of the examples")
    raw["nodes"][node_id] = node
    headers = {"x-shop-id": PAGE.split("X-Shop-Id: ")[1].split("`")[0]}
    run = RunScheduler(
        Compiled(normalise(raw)),
        run_id="run_1",
        org_id="org_1",
        workflow_id=PAGE.split("The workflow's id is `")[1].split("`")[0],
        trigger_node="root",
        trigger_result=webhook_result(shown_after("and this body:"), headers, "2026-01-01T00:00:00.000Z"),
        storage=storage(),
    )
    commands = run.apply(Start(0))
    call = next(command for command in commands if isinstance(command, CallAction))
    commands += run.apply(NodeDone(call.node_id, call.path, 1, shown_after("`fetch-price` answers:")))
    assert isinstance(commands[-1], FinishRun)
    return [each.record for each in commands if isinstance(each, Record) and each.record.node_id == node_id][-1]


def ran(example: str) -> tuple[NodeRecord, Any]:
    """Run an example; returns its node's record, and what the page compares."""
    if example.startswith(LOOP):
        record = run_with("line", {"type": "log", "payload": {"message": example.removeprefix(LOOP)}})
        assert record.path == "orders:1/lines:1"
        return record, record.result.get("message")
    other = OTHER_NODE.fullmatch(example)
    if other is not None:
        record = run_with("end", {"type": other[1], "payload": json.loads(other[2])})
        return record, record.result
    record = run_with("end", {"type": "log", "payload": {"message": example}})
    return record, record.result.get("message")


@pytest.mark.parametrize(("template", "shown"), EXAMPLES)
def test_example_gives_what_the_page_shows(template: str, shown: str) -> None:
    record, value = ran(template)
    refused = REFUSED.fullmatch(shown)
    if refused is None:
        assert record.status == "success", record.result
        expected = json.loads(shown)
        assert (value, type(value)) == (expected, type(expected))
    else:
        assert record.status == "failure"
        assert record.result["error"]["code"] == refused[1]
        assert refused[2] in record.result["error"]["message"]


def test_the_page_has_an_example_of_every_name() -> None:
    table = PAGE.split("## What can be named")[1].split("\n\n")[1]
    named = {path.split(".")[0] for path in re.findall(r"`([$\w.]+)`", table) if path.startswith(("$", "root", "trig"))}
    assert {"$trigger", "$props", "$vars", "$storage", "$for", "$workflow", "root"} <= named
    used = " ".join(template for template, _ in EXAMPLES)
    assert {name for name in named if f"{{{{{name}" not in used} <= {"$inputs"}


def test_inputs_are_those_of_the_call() -> None:
    run = RunScheduler(
        Compiled(normalise({"nodes": {
            "root": {"type": "manual", "children": ["end"]},
            "end": {"type": "log", "payload": {"message": ["{{$inputs.x}}", "{{root.input.x}}"]}},
        }})),
        run_id="run_1", org_id="org_1", workflow_id="wf_1", trigger_node="root", trigger_result={"inputs": {"x": 5}},
    )  # fmt: skip
    (record, _) = run.apply(Start(0))
    assert isinstance(record, Record)
    assert record.record.result["message"] == [5, 5]


def test_limits_are_those_of_the_core() -> None:
    table = PAGE.split("## Limits")[1].split("## ")[0]
    shown = [int(number.replace(",", "")) for number in re.findall(r"\| ([\d,]+) \| 4003", table)]
    limits = [expression.MAX_SOURCE, expression.MAX_DEPTH, expression.MAX_RESULT, expression.MAX_VALUES]
    assert shown[:4] == limits
