"""The brokers that are held to one contract: ours in memory, ours on a disk, Apache Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def embedded_broker_with_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap of one embedded broker that keeps its data."""
    with BrokerProcess(data_dir=tmp_path_factory.mktemp("broker-data")) as process:
        yield process.bootstrap


@pytest.fixture(
    scope="session",
    params=[
        "embedded",
        "embedded-data",
        pytest.param("apache", marks=pytest.mark.apache_kafka),
    ],
)
def broker(request: pytest.FixtureRequest) -> str:
    """Bootstrap of each broker in turn: the test runs once against all three."""
    name = {
        "embedded": "embedded_broker",
        "embedded-data": "embedded_broker_with_data",
        "apache": "apache_kafka",
    }[str(request.param)]
    return str(request.getfixturevalue(name))
