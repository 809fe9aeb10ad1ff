"""One plant for all tests of this folder, and another one after a test that left something moving behind."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from b3os.embedded.servers import Urls
from tests.faults.plant import Plant

Grow = Callable[..., Plant]


class Field:
    """Where plants grow, one after the other. Their folders are short enough for Unix sockets."""

    def __init__(self, servers: Urls, template: str) -> None:
        self._servers = servers
        self._template = template
        self._stack = ExitStack()
        self._plant: Plant | None = None
        self._ops_url = ""

    def plant(self, *names: str, ops_url: str = "", **environ: str) -> Plant:
        """Return the plant with these processes; one on an ops Redis of its own is another one."""
        if ops_url != self._ops_url or self._plant is None or not self._plant.is_quiet:
            self.clear()
            self._ops_url = ops_url
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="b3f")))
            servers = msgspec.structs.replace(self._servers, redis_ops_url=ops_url or self._servers.redis_ops_url)
            self._plant = Plant(folder, servers, self._template)
            self._stack.callback(self._plant.close)
        return self._plant.become(*names, **environ)

    def clear(self) -> None:
        """Leave nothing."""
        self._plant = None
        self._stack.close()


@pytest.fixture(scope="package")
def field(servers: Urls, template: str) -> Iterator[Field]:
    found = Field(servers, template)
    yield found
    found.clear()


@pytest.fixture
def grow(field: Field) -> Grow:
    """`grow("worker", "worker", B3OS_...="...")` gives a plant with these processes beside API and actions."""
    return field.plant
