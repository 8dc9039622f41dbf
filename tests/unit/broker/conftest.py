"""A broker that keeps its data, on a disk in memory."""

from __future__ import annotations

import pytest

from batuta.streams.broker.kept_broker import TOPIC, KeptBroker


@pytest.fixture
def kept() -> KeptBroker:
    """A broker with one topic of two partitions."""
    made = KeptBroker()
    assert made.create(TOPIC, 2) == 0
    return made
