"""Log lines are JSON, and say which organization, workflow, run and node they are about."""

import asyncio
import logging
from typing import Any

import msgspec

from b3os.logs import JsonFormatter, bind


def line(**extra: Any) -> dict[str, Any]:
    record = logging.makeLogRecord(
        {"name": "b3os.x", "levelno": logging.INFO, "levelname": "INFO", "msg": "done", **extra}
    )
    return dict(msgspec.json.decode(JsonFormatter("worker").format(record)))


async def test_what_is_bound_is_in_the_lines_of_the_task_and_its_children_only() -> None:
    async def child() -> dict[str, Any]:
        bind(node="n")
        return line()

    async def run() -> tuple[dict[str, Any], dict[str, Any]]:
        bind(org="org_a", workflow="wf_1", run="run_1")
        return line(), await asyncio.create_task(child())

    of_run, of_node = await asyncio.create_task(run())
    about = {"org": "org_a", "workflow": "wf_1", "run": "run_1"}
    assert about.items() <= of_run.items()
    assert (about | {"node": "n"}).items() <= of_node.items()
    assert not about.keys() & line().keys()


def test_a_field_of_the_line_itself_wins() -> None:
    async def both() -> dict[str, Any]:
        bind(node="outer")
        return line(node="inner", error={"code": "X"})

    found = asyncio.run(both())
    assert (found["node"], found["error"], found["process"], found["level"]) == (
        "inner",
        {"code": "X"},
        "worker",
        "info",
    )
