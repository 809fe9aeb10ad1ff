"""What a `wait` listens for, and what is refused before it waits."""

from typing import Any

import pytest

from b3os.detect.catalog import TRIGGER_TYPES, check_trigger
from b3os.errors import BadInput
from b3os.run.commands import Command, FinishRun, Record, StartTimer, WaitTrigger
from b3os.run.events import Start
from b3os.run.scheduler import RunScheduler
from b3os.run.waits import WAIT_TYPES, wait_trigger
from b3os.workflow.compiled import Compiled
from b3os.workflow.definition import normalise

LOG = {"chainId": 1, "address": "0x" + "11" * 20}


def run(payload: dict[str, Any]) -> list[Command]:
    nodes = {"root": {"type": "manual", "children": ["w"]}, "w": {"type": "wait", "payload": payload}}
    scheduler = RunScheduler(
        Compiled(normalise({"nodes": nodes})), run_id="run_1", org_id="o", workflow_id="wf", trigger_node="root",
        trigger_result={"chain": 1}, check_trigger=lambda kind, config: check_trigger(kind, config, {1}),
    )  # fmt: skip
    return scheduler.apply(Start(1))


def test_a_wait_listens_with_its_rendered_payload() -> None:
    timer = run({"triggerType": "evm-log", "triggerConfig": {**LOG, "chainId": "{{root.result.chain}}"}})[0]
    assert isinstance(timer, StartTimer)
    assert timer.trigger == WaitTrigger("evm-log", LOG)
    assert timer.record.result == {"status": "waiting", "timeoutMs": 300_000}


@pytest.mark.parametrize("kind", [None, "", "manual", "callback", "webhook"])
def test_a_callback_needs_no_trigger(kind: Any) -> None:
    timer = run({"triggerType": kind})[0]
    assert isinstance(timer, StartTimer)
    assert timer.trigger is None


@pytest.mark.parametrize(
    ("payload", "code"),
    [({"triggerType": "cronjob", "triggerConfig": {}}, "400371"), ({"triggerType": ["x"]}, "400371"),
     ({"triggerType": "evm-log"}, "400371"), ({"triggerType": "evm-log", "triggerConfig": {"chainId": 1}}, "400336"),
     ({"triggerType": "evm-log", "triggerConfig": {**LOG, "chainId": 5}}, "400337"), ({"timeoutMs": 999}, "400315"),
     ({"timeoutMs": 604_800_001}, "400315")],
)  # fmt: skip
def test_a_wait_that_could_never_end_fails_by_name(payload: dict[str, Any], code: str) -> None:
    recorded, end = run(payload)
    assert isinstance(recorded, Record)
    assert recorded.record.result["error"]["code"] == code
    assert end == FinishRun("failure", 1)


def test_every_wait_type_is_a_trigger_type() -> None:
    assert set(TRIGGER_TYPES) >= WAIT_TYPES
    with pytest.raises(BadInput, match="one of"):
        wait_trigger({"triggerType": "x"}, check_trigger)
