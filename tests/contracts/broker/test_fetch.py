from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.batches import read_header
from batuta.streams.broker.messages_cluster import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from batuta.streams.broker.messages_records import (
    FetchPartition,
    FetchPartitionResult,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ProducePartition,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.raw_client import RawClient, build_batch

if TYPE_CHECKING:
    from batuta.streams.broker.testing import TopicFactory

OUT_OF_RANGE, UNKNOWN_TOPIC, NO_SESSION, UNKNOWN_EPOCH, UNKNOWN_ID = 1, 3, 70, 75, 100
BY_NAME = 12


async def append(raw: RawClient, topic: str, *batches: bytes, partition: int = 0) -> None:
    for batch in batches:
        entry = ProduceTopic(topic, (ProducePartition(partition, batch),))
        await raw.ask(ProduceRequest(None, 1, 5000, (entry,)), ProduceResponse)


def asks(topic: str, *entries: FetchPartition, max_bytes: int = 1 << 20) -> FetchRequest:
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=max_bytes,
        topics=(FetchTopic(topic, partitions=entries),),
    )


def entry(offset: int, partition: int = 0, max_bytes: int = 1 << 20) -> FetchPartition:
    return FetchPartition(partition, fetch_offset=offset, max_bytes=max_bytes)


async def fetch(
    raw: RawClient, request: FetchRequest, version: int = BY_NAME
) -> tuple[FetchPartitionResult, ...]:
    return (await raw.ask(request, FetchResponse, version)).topics[0].partitions


async def park(
    raw: RawClient, request: FetchRequest
) -> asyncio.Task[tuple[FetchPartitionResult, ...]]:
    """Start a fetch that has to wait, and let the broker do so before anything else is sent."""
    waiting = asyncio.create_task(fetch(raw, request))
    for _ in range(5):
        await raw.ask(ApiVersionsRequest(), ApiVersionsResponse)
    assert not waiting.done()
    return waiting


@pytest.mark.parametrize("version", range(4, 13))
async def test_what_was_appended_is_read(
    raw: RawClient, topics: TopicFactory, version: int
) -> None:
    topic = await topics.create("read")
    batch = build_batch([b"a", b"b"])
    await append(raw, topic, batch)
    (found,) = await fetch(raw, asks(topic, entry(0)), version)
    assert (found.error_code, found.high_watermark, found.last_stable_offset) == (0, 2, 2)
    assert found.log_start_offset == (0 if version >= 5 else -1)
    assert found.aborted_transactions is None
    assert (found.records or b"")[16:] == batch[16:]


@pytest.mark.parametrize("version", range(13, 17))
async def test_newer_versions_name_topics_by_id(
    raw: RawClient, topics: TopicFactory, version: int
) -> None:
    topic = await topics.create("by-id")
    await append(raw, topic, build_batch([b"a"]))
    asked = MetadataRequest((MetadataRequestTopic(name=topic),), False)
    topic_id = (await raw.ask(asked, MetadataResponse)).topics[0].topic_id
    request = FetchRequest(topics=(FetchTopic(topic_id=topic_id, partitions=(entry(0),)),))
    answer = await raw.ask(request, FetchResponse, version)
    assert answer.topics[0].topic_id == topic_id
    assert answer.topics[0].partitions[0].high_watermark == 1
    unknown = FetchRequest(topics=(FetchTopic(topic_id=b"\1" * 16, partitions=(entry(0),)),))
    refused = await raw.ask(unknown, FetchResponse, version)
    assert refused.topics[0].partitions[0].error_code == UNKNOWN_ID


async def test_a_read_in_the_middle_starts_with_the_whole_batch(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("middle")
    await append(raw, topic, build_batch([b"a"]), build_batch([b"b", b"c"]), build_batch([b"d"]))
    (found,) = await fetch(raw, asks(topic, entry(2)))
    assert read_header(found.records or b"").base_offset == 1


async def test_offsets_outside_the_log_are_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("range")
    await append(raw, topic, build_batch([b"a"]))
    for offset in (-1, 2, 1000):
        (found,) = await fetch(raw, asks(topic, entry(offset)))
        assert (found.error_code, found.high_watermark) == (OUT_OF_RANGE, -1)
        assert (found.last_stable_offset, found.log_start_offset) == (-1, -1)
    (at_end,) = await fetch(raw, asks(topic, entry(1)))
    assert (at_end.error_code, at_end.records) == (0, b"")


async def test_unknown_topics_and_partitions_are_refused(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("known")
    (nowhere,) = await fetch(raw, asks("nobody-made-this", entry(0)))
    (no_partition,) = await fetch(raw, asks(topic, entry(0, partition=7)))
    assert (nowhere.error_code, no_partition.error_code) == (UNKNOWN_TOPIC, UNKNOWN_TOPIC)


async def test_an_unknown_leader_epoch_is_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("leader")
    asked = FetchPartition(0, current_leader_epoch=9, fetch_offset=0, max_bytes=1000)
    (found,) = await fetch(raw, asks(topic, asked))
    assert found.error_code == UNKNOWN_EPOCH


async def test_a_session_nobody_opened_is_refused(raw: RawClient) -> None:
    request = FetchRequest(session_id=12345, session_epoch=3)
    assert (await raw.ask(request, FetchResponse, BY_NAME)).error_code == NO_SESSION


async def test_one_batch_comes_however_small_the_limit(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("limits")
    batch = build_batch([b"x" * 1000])
    await append(raw, topic, batch, batch)
    (by_partition,) = await fetch(raw, asks(topic, entry(0, max_bytes=10)))
    (by_request,) = await fetch(raw, asks(topic, entry(0), max_bytes=10))
    assert whole_batches(by_partition) == whole_batches(by_request) == [0]


async def test_only_the_first_partition_may_exceed_the_limit(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("limits", partitions=2)
    batch = build_batch([b"x" * 1000])
    await append(raw, topic, batch, partition=0)
    await append(raw, topic, batch, partition=1)
    first, second = await fetch(raw, asks(topic, entry(0), entry(0, partition=1), max_bytes=10))
    assert (whole_batches(first), whole_batches(second)) == ([0], [])


async def test_the_partition_limit_stops_between_batches(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("limits")
    batch = build_batch([b"x" * 1000])
    await append(raw, topic, batch, batch, batch)
    (found,) = await fetch(raw, asks(topic, entry(0, max_bytes=2 * len(batch))))
    assert whole_batches(found) == [0, 1]


async def test_a_waiting_fetch_wakes_when_something_is_appended(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("wake")
    request = FetchRequest(
        max_wait_ms=15_000, min_bytes=1, topics=(FetchTopic(topic, partitions=(entry(0),)),)
    )
    async with asyncio.timeout(10):
        waiting = await park(raw, request)
        await append(raw, topic, build_batch([b"at last"]))
        (found,) = await waiting
    assert found.high_watermark == 1


async def test_a_waiting_fetch_ends_with_its_time(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("wait")
    request = FetchRequest(
        max_wait_ms=200, min_bytes=1, topics=(FetchTopic(topic, partitions=(entry(0),)),)
    )
    (found,) = await fetch(raw, request)
    assert (found.error_code, found.records) == (0, b"")


async def test_min_bytes_waits_for_more(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("more")
    batch = build_batch([b"x" * 500])
    await append(raw, topic, batch)
    request = FetchRequest(
        max_wait_ms=15_000,
        min_bytes=len(batch) + 1,
        topics=(FetchTopic(topic, partitions=(entry(0),)),),
    )
    async with asyncio.timeout(10):
        waiting = await park(raw, request)
        await append(raw, topic, batch)
        (found,) = await waiting
    assert whole_batches(found) == [0, 1]


async def test_an_error_does_not_wait(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("hurry", partitions=2)
    request = FetchRequest(
        max_wait_ms=15_000,
        min_bytes=1,
        topics=(FetchTopic(topic, partitions=(entry(0), entry(99, partition=1))),),
    )
    async with asyncio.timeout(10):
        good, bad = await fetch(raw, request)
    assert (good.error_code, bad.error_code) == (0, OUT_OF_RANGE)


async def test_nothing_that_exists_does_not_wait(raw: RawClient) -> None:
    request = FetchRequest(
        max_wait_ms=15_000,
        min_bytes=1,
        topics=(FetchTopic("nobody-made-this", partitions=(entry(0),)),),
    )
    async with asyncio.timeout(10):
        (bad,) = await fetch(raw, request)
    assert bad.error_code == UNKNOWN_TOPIC


async def test_an_unknown_partition_waits_with_the_others(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("patience")
    request = FetchRequest(
        max_wait_ms=15_000,
        min_bytes=1,
        topics=(FetchTopic(topic, partitions=(entry(0), entry(0, partition=5))),),
    )
    async with asyncio.timeout(10):
        waiting = await park(raw, request)
        await append(raw, topic, build_batch([b"at last"]))
        found = {result.partition: result for result in await waiting}
    assert found[0].high_watermark == 1
    assert found[5].error_code == UNKNOWN_TOPIC


def whole_batches(found: FetchPartitionResult) -> list[int]:
    """The base offsets of the whole batches; a broker may cut the last one short."""
    data, bases = found.records or b"", list[int]()
    while len(data) > 61 and read_header(data).size <= len(data):
        header = read_header(data)
        bases.append(header.base_offset)
        data = data[header.size :]
    return bases
