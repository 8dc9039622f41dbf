"""Reading what is on the broker at the end: every committed record, and who wrote it."""

from dataclasses import dataclass, field

from aiokafka import TopicPartition

from batuta.schemas.record import Record
from batuta.streams.broker.batches import HEADER_SIZE, read_header
from batuta.streams.broker.messages_records import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    FetchResponse,
    FetchTopic,
)
from batuta.streams.rehearsal.broker_house import BrokerHouse
from batuta.streams.rehearsal.in_process_records import committed_records

__all__ = ["Spot", "TopicRead", "read_topic"]

_BYTES_MAX = 1 << 26
#: Topic, partition and offset.
Spot = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class TopicRead:
    """What stands on a topic.

    Attributes:
        records: the committed ones, partition by partition, in order.
        writers: the transactional id under which each was written; none of what users sent.
    """

    records: list[Record] = field(default_factory=list[Record])
    writers: dict[Spot, str] = field(default_factory=dict[Spot, str])


def read_topic(house: BrokerHouse, topic: str) -> TopicRead:
    """Read a topic to its end."""
    assert house.broker is not None
    found = house.broker.state.topics.get(topic)
    assert found is not None, topic
    producers = {t.producer_id: t.transactional_id for t in house.broker.state.transactions}
    read = TopicRead()
    for partition in range(len(found.partitions)):
        _read(house, TopicPartition(topic, partition), producers, read)
    return read


def _read(
    house: BrokerHouse, tp: TopicPartition, producers: dict[int, str], into: TopicRead
) -> None:
    assert house.broker is not None
    log = house.broker.state.topics.partition(tp.topic, tp.partition)
    assert log is not None
    position = log.start_offset
    while position < log.last_stable_offset:
        found = _fetch(house, tp, position)
        records, further = committed_records(tp, found, position)
        assert further > position, f"{tp} gives nothing from {position} on"
        into.records.extend(records)
        _note_writers(tp, found.records or b"", producers, into)
        position = further


def _note_writers(
    tp: TopicPartition, data: bytes, producers: dict[int, str], into: TopicRead
) -> None:
    """Note of each offset in some batches whose it is."""
    at = 0
    while at < len(data):
        header = read_header(data[at : at + HEADER_SIZE])
        at += header.size
        if (writer := producers.get(header.producer_id)) is not None:
            last = header.base_offset + header.last_offset_delta
            for offset in range(header.base_offset, last + 1):
                into.writers[tp.topic, tp.partition, offset] = writer


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
