"""The simulation's queue passes the broker's own contract."""

import pytest

from tests.queue.contract import Clock, QueueContract
from tests.simulation.queue import ModelQueue, QueueState


class TestModelQueue(QueueContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def queue(self, clock: Clock) -> ModelQueue:
        return ModelQueue(QueueState(), clock, lane_limit=100)
