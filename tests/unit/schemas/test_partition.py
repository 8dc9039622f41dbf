"""murmur2 as Kafka's own clients compute it."""

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from batuta.schemas.partition import PartitionOf, murmur2


@given(st.binary(max_size=200))
def test_murmur2_equals_aiokafkas(data: bytes) -> None:
    assert murmur2(data) == aiokafka_murmur2(data) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "expected"),
    # Apache Kafka's UtilsTest.testMurmur2 states these as signed integers.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_equals_apache_kafkas(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF


@given(st.binary(max_size=20), st.integers(1, 100))
def test_a_partition_is_remembered_as_it_was_computed(key: bytes, partitions: int) -> None:
    partition_of = PartitionOf(partitions)
    first = partition_of(key)
    assert first == (murmur2(key) & 0x7FFFFFFF) % partitions
    assert partition_of(key) == first
