"""A real Anvil for tests of chains; one per session."""

from collections.abc import Iterator

import pytest

from b3os.embedded.supervisor import free_port
from demo import chain as demo


@pytest.fixture(scope="session")
def anvil() -> Iterator[str]:
    port = free_port()
    process = demo.start(port)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()
