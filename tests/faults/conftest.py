"""A plant per test, on a database of its own and empty Redis servers; its folder is short enough for Unix sockets."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.plant import Plant, planted

Grow = Callable[..., Plant]


@pytest.fixture
def grow(pg_url: str, redis_url: str, data_redis_url: str) -> Iterator[Grow]:
    """`grow("worker", "worker", B3OS_...="...")` starts a plant with these processes beside API and actions."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b3f")))

        def make(*names: str, ops_url: str = redis_url, **environ: str) -> Plant:
            return stack.enter_context(planted(folder, pg_url, ops_url, data_redis_url, *names, **environ))

        yield make
