"""The simulation's store passes PostgreSQL's own contract."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.simulation.store import ModelStore
from tests.store.contract import WINDOW, StoreContract


class House:
    """The model, asked without a network, and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.model = ModelStore(lambda: self.now, window=WINDOW)
        self.store = self

    async def later(self, seconds: float) -> None:
        self.now += seconds

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.model, name)

        async def call(*args: Any, **more: Any) -> Any:
            return method(*args, **more)

        return call


class TestModel(StoreContract):
    @pytest.fixture
    def house(self) -> House:
        return House()
