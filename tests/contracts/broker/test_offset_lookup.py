from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.messages_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ListOffsetsPartition,
    ListOffsetsPartitionResult,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
    OffsetForLeaderEpochPartition,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochTopic,
    ProducePartition,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.raw_client import RawClient, build_batch

if TYPE_CHECKING:
    from batuta.streams.broker.testing import TopicFactory

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL = -1, -2, -3, -4
T0 = 1_700_000_000_000


async def append(raw: RawClient, topic: str, *batches: bytes) -> None:
    for batch in batches:
        entry = ProduceTopic(topic, (ProducePartition(0, batch),))
        await raw.ask(ProduceRequest(None, 1, 5000, (entry,)), ProduceResponse)


async def look_up(
    raw: RawClient, topic: str, timestamp_ms: int, version: int = 8
) -> ListOffsetsPartitionResult:
    entry = ListOffsetsTopic(topic, (ListOffsetsPartition(0, -1, timestamp_ms),))
    answer = await raw.ask(ListOffsetsRequest(-1, 0, (entry,)), ListOffsetsResponse, version)
    return answer.topics[0].partitions[0]


async def three_batches(raw: RawClient, topics: TopicFactory) -> str:
    """Offsets 0-2 at T0 .. T0+2, 3-4 at T0+100, T0+101, and 5 at T0+50: late."""
    topic = await topics.create("times")
    await append(
        raw,
        topic,
        build_batch([b"a", b"b", b"c"], first_timestamp_ms=T0),
        build_batch([b"d", b"e"], first_timestamp_ms=T0 + 100),
        build_batch([b"f"], first_timestamp_ms=T0 + 50),
    )
    return topic


@pytest.mark.parametrize("version", range(1, 9))
async def test_start_and_end(raw: RawClient, topics: TopicFactory, version: int) -> None:
    topic = await three_batches(raw, topics)
    start = await look_up(raw, topic, EARLIEST, version)
    end = await look_up(raw, topic, LATEST, version)
    assert (start.offset, start.timestamp_ms, start.error_code) == (0, -1, 0)
    assert (end.offset, end.timestamp_ms, end.error_code) == (6, -1, 0)
    assert end.leader_epoch == (0 if version >= 4 else -1)


@pytest.mark.parametrize(
    ("asked", "offset", "timestamp"),
    [
        (0, 0, T0),
        (T0, 0, T0),
        (T0 + 1, 1, T0 + 1),
        (T0 + 2, 2, T0 + 2),
        (T0 + 3, 3, T0 + 100),
        (T0 + 60, 3, T0 + 100),
        (T0 + 101, 4, T0 + 101),
        (T0 + 102, -1, -1),
    ],
)
async def test_the_first_record_as_late_as_asked(
    raw: RawClient, topics: TopicFactory, asked: int, offset: int, timestamp: int
) -> None:
    topic = await three_batches(raw, topics)
    found = await look_up(raw, topic, asked)
    assert (found.offset, found.timestamp_ms) == (offset, timestamp)
    assert found.leader_epoch == (0 if offset >= 0 else -1)


async def test_the_greatest_timestamp(raw: RawClient, topics: TopicFactory) -> None:
    topic = await three_batches(raw, topics)
    found = await look_up(raw, topic, MAX_TIMESTAMP)
    assert (found.offset, found.timestamp_ms) == (4, T0 + 101)


async def test_an_empty_log(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("empty")
    for asked, offset in ((LATEST, 0), (EARLIEST, 0), (T0, -1), (MAX_TIMESTAMP, -1)):
        found = await look_up(raw, topic, asked)
        assert (found.error_code, found.offset, found.timestamp_ms) == (0, offset, -1), asked


async def test_unknown_topics_and_epochs_are_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("known")
    assert (await look_up(raw, "nobody-made-this", LATEST)).error_code == 3
    entry = ListOffsetsTopic(topic, (ListOffsetsPartition(0, 9, LATEST),))
    answer = await raw.ask(ListOffsetsRequest(-1, 0, (entry,)), ListOffsetsResponse)
    assert answer.topics[0].partitions[0].error_code == 75


async def delete(raw: RawClient, topic: str, offset: int) -> DeleteRecordsPartitionResult:
    entry = DeleteRecordsTopic(topic, (DeleteRecordsPartition(0, offset),))
    answer = await raw.ask(DeleteRecordsRequest((entry,), 5000), DeleteRecordsResponse)
    return answer.topics[0].partitions[0]


async def test_records_are_deleted_from_the_start(raw: RawClient, topics: TopicFactory) -> None:
    topic = await three_batches(raw, topics)
    assert await delete(raw, topic, 4) == DeleteRecordsPartitionResult(0, 4, 0)
    assert (await look_up(raw, topic, EARLIEST)).offset == 4
    read = FetchTopic(topic, partitions=(FetchPartition(0, fetch_offset=3, max_bytes=1000),))
    answer = await raw.ask(FetchRequest(topics=(read,)), FetchResponse, 12)
    assert answer.topics[0].partitions[0].error_code == 1
    assert (await look_up(raw, topic, EARLIEST_LOCAL)).offset == 4


async def test_deleting_to_the_end_and_beyond(raw: RawClient, topics: TopicFactory) -> None:
    topic = await three_batches(raw, topics)
    assert (await delete(raw, topic, 7)).error_code == 1
    assert (await delete(raw, topic, -1)).low_watermark == 6
    assert (await delete(raw, "nobody-made-this", 1)).error_code == 3


async def test_the_only_leader_epoch_ends_at_the_end(raw: RawClient, topics: TopicFactory) -> None:
    topic = await three_batches(raw, topics)
    entry = OffsetForLeaderEpochTopic(topic, (OffsetForLeaderEpochPartition(0, -1, 0),))
    answer = await raw.ask(
        OffsetForLeaderEpochRequest(topics=(entry,)), OffsetForLeaderEpochResponse, 3
    )
    found = answer.topics[0].partitions[0]
    assert (found.error_code, found.leader_epoch, found.end_offset) == (0, 0, 6)
