"""The queue's tests run on the loop that the processes run on: uvloop's transports are not asyncio's."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Name the loop of these tests."""
    return {"uvloop": uvloop.new_event_loop}
