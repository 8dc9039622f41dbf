"""Brokers for every test: the embedded one, Apache Kafka, or each in turn.

Take `embedded_broker` for a fast test on one broker, `apache_kafka` (and mark the test
`apache_kafka`) for what only Apache Kafka can show, and `broker` to run a test on both. Each is
the bootstrap string of a broker that serves the whole session, so tests share it: take names from
`topics` (`await topics.create("events", partitions=4)`, `topics.unique("group")`), which belongs
to `broker`, or build `TopicFactory(embedded_broker)`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from batuta.agents.fraud.generator import CardPlan, CardWorld
from batuta.streams.broker.apache import ApacheKafka, ApacheKafkaUnavailableError, find_libraries
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.broker.raw_client import RawClient
from batuta.streams.broker.testing import TopicFactory

if TYPE_CHECKING:
    from collections.abc import Iterator

POM = Path(__file__).parent / "apache_kafka" / "pom.xml"


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap of one Apache Kafka 4.1 broker; mark its tests `apache_kafka`.

    Missing Java or Maven skips the test at home and fails it where CI is set.
    """
    try:
        kafka = ApacheKafka(find_libraries(POM), tmp_path_factory.mktemp("apache-kafka"))
    except ApacheKafkaUnavailableError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"Apache Kafka was not tested: {missing}")
        pytest.skip(f"APACHE KAFKA WAS NOT TESTED: {missing}")
    yield kafka.bootstrap
    kafka.stop()


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[str]:
    """Bootstrap of one embedded broker in a process of its own."""
    with BrokerProcess() as process:
        yield process.bootstrap


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("apache", marks=pytest.mark.apache_kafka)],
)
def broker(request: pytest.FixtureRequest) -> str:
    """Bootstrap of each broker in turn: the test runs once against both."""
    name = {"embedded": "embedded_broker", "apache": "apache_kafka"}[str(request.param)]
    return str(request.getfixturevalue(name))


@pytest.fixture
def topics(broker: str) -> TopicFactory:
    """Creates topics with unique names on `broker`."""
    return TopicFactory(broker)


@pytest.fixture
def raw(broker: str) -> RawClient:
    """Asks `broker` in the protocol's own words."""
    return RawClient(broker)


@pytest.fixture(scope="session")
def small_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `transactions.parquet` of 24 days, in the fraud handbook's form."""
    folder = tmp_path_factory.mktemp("history")
    world = CardWorld(CardPlan(11, cards=300, terminals=100)).history(24)
    columns = {
        "TRANSACTION_ID": np.arange(len(world), dtype=np.int32),
        "TX_TIME_SECONDS": np.sort(world.times_ms // 1_000).astype(np.int32),
        "CUSTOMER_ID": world.cards.astype(np.int32),
        "TERMINAL_ID": world.terminals.astype(np.int32),
        "TX_AMOUNT_CENTS": np.rint(world.amounts * 100).astype(np.int32),
        "TX_FRAUD": (world.fraud > 0).astype(np.int8),
        "TX_FRAUD_SCENARIO": world.fraud.astype(np.int8),
    }
    parquet.write_table(pa.table(columns), folder / "transactions.parquet")
    return folder
