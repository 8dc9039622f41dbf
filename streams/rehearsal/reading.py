"""Reading what is on the broker at the end: every committed record, by topic and partition."""

from aiokafka import TopicPartition

from batuta.schemas.record import Record
from batuta.streams.broker.messages_records import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    FetchResponse,
    FetchTopic,
)
from batuta.streams.rehearsal.broker_house import BrokerHouse
from batuta.streams.rehearsal.in_process_records import committed_records

__all__ = ["read_topic"]

_BYTES_MAX = 1 << 26


def read_topic(house: BrokerHouse, topic: str) -> list[Record]:
    """Return the committed records of a topic, partition by partition, in order."""
    assert house.broker is not None
    found = house.broker.state.topics.get(topic)
    assert found is not None, topic
    return [
        record
        for partition in range(len(found.partitions))
        for record in _read(house, TopicPartition(topic, partition))
    ]


def _read(house: BrokerHouse, tp: TopicPartition) -> list[Record]:
    assert house.broker is not None
    log = house.broker.state.topics.partition(tp.topic, tp.partition)
    assert log is not None
    records: list[Record] = []
    position = log.start_offset
    while position < log.last_stable_offset:
        more, further = committed_records(tp, _fetch(house, tp, position), position)
        assert further > position, f"{tp} gives nothing from {position} on"
        records += more
        position = further
    return records


def _fetch(house: BrokerHouse, tp: TopicPartition, position: int) -> FetchPartitionResult:
    entry = FetchPartition(tp.partition, fetch_offset=position, max_bytes=_BYTES_MAX)
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=_BYTES_MAX,
        isolation_level=1,
        topics=(FetchTopic(tp.topic, partitions=(entry,)),),
    )
    answers: list[object | None] = []
    house.deliver("reader", request, answers.append)
    (answer,) = answers
    assert isinstance(answer, FetchResponse), answer
    return answer.topics[0].partitions[0]
