"""Brokers for every test: the embedded one, Apache Kafka, or each in turn."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.apache import ApacheKafka, ApacheKafkaUnavailableError, find_libraries

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
