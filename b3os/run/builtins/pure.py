"""Built-in nodes that only compute: payload in, result out. A crash replays them to the same result.

They run on the worker's loop, so each is linear in its input and bounds what it makes; an error is always one of ours.
"""

from collections.abc import Callable
from typing import Any

from b3os.run.builtins.amounts import run_from_wei, run_to_wei
from b3os.run.builtins.lists import run_filter, run_max, run_min, run_pluck
from b3os.run.builtins.texts import run_format, run_regex, run_sheets_url
from b3os.workflow.conditions import compile_condition


def run_if(payload: dict[str, Any]) -> dict[str, Any]:
    """Choose the arm `then` or `else`."""
    return {"branch": "then" if compile_condition(payload.get("condition"))(None) else "else"}


PURE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "if": run_if,
    "filter": run_filter,
    "pluck": run_pluck,
    "format": run_format,
    "regex": run_regex,
    "convert-to-wei": run_to_wei,
    "convert-from-wei": run_from_wei,
    "list-max": run_max,
    "list-min": run_min,
    "parse-google-sheets-url": run_sheets_url,
}
