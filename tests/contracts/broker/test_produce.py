from __future__ import annotations

import asyncio
import struct
import time
from typing import TYPE_CHECKING

import pytest
from aiokafka.record.util import calc_crc32c

from batuta.streams.broker.api import APIS
from batuta.streams.broker.messages_records import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
    ProducePartition,
    ProducePartitionResult,
    ProduceRequest,
    ProduceResponse,
    ProduceTopic,
)
from batuta.streams.broker.messages_transactions import (
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.broker.raw_client import RawClient, build_batch, encode_request, eventually

if TYPE_CHECKING:
    from batuta.streams.broker.testing import TopicFactory

CORRUPT, UNKNOWN_TOPIC, TOO_LARGE, BAD_ACKS, BAD_TIME = 2, 3, 10, 21, 32
OUT_OF_ORDER, STALE_EPOCH, INVALID_RECORD, NOT_AUTHORIZED = 45, 47, 87, 53


def request_for(topic: str, batch: bytes | None, acks: int = -1) -> ProduceRequest:
    return ProduceRequest(None, acks, 5000, (ProduceTopic(topic, (ProducePartition(0, batch),)),))


async def produce(
    raw: RawClient, topic: str, batch: bytes | None, version: int | None = None
) -> ProducePartitionResult:
    answer = await raw.ask(request_for(topic, batch), ProduceResponse, version)
    return answer.topics[0].partitions[0]


async def new_producer(raw: RawClient) -> tuple[int, int]:
    async def ask() -> InitProducerIdResponse:
        return await raw.ask(InitProducerIdRequest(None, 1000), InitProducerIdResponse)

    async def given() -> bool:
        return (await ask()).error_code == 0

    await eventually(given)
    answer = await ask()
    return answer.producer_id, answer.producer_epoch


@pytest.mark.parametrize("version", range(3, 11))
async def test_batches_lie_one_after_the_other(
    raw: RawClient, topics: TopicFactory, version: int
) -> None:
    topic = await topics.create("append")
    first = await produce(raw, topic, build_batch([b"a", b"b", b"c"]), version)
    second = await produce(raw, topic, build_batch([b"d"]), version)
    assert (first.error_code, first.base_offset) == (0, 0)
    assert (second.error_code, second.base_offset) == (0, 3)
    assert second.log_append_time_ms == -1
    assert second.log_start_offset == (0 if version >= 5 else -1)


async def test_a_repeated_batch_is_answered_with_its_first_offset(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic, producer = await topics.create("duplicate"), await new_producer(raw)
    batches = [
        build_batch([b"x", b"y"], producer=producer, sequence=2 * number) for number in range(5)
    ]
    placed = [await produce(raw, topic, batch) for batch in batches]
    again = [await produce(raw, topic, batch) for batch in batches]
    assert [p.base_offset for p in placed] == [0, 2, 4, 6, 8]
    assert [p.base_offset for p in again] == [0, 2, 4, 6, 8]
    assert [p.log_append_time_ms for p in again] == [1_700_000_000_001] * 5
    assert [p.error_code for p in again] == [0] * 5
    assert await end_of(raw, topic) == 10


async def test_a_forgotten_duplicate_is_out_of_order(raw: RawClient, topics: TopicFactory) -> None:
    topic, producer = await topics.create("forgotten"), await new_producer(raw)
    batches = [build_batch([b"x"], producer=producer, sequence=number) for number in range(6)]
    for batch in batches:
        assert (await produce(raw, topic, batch)).error_code == 0
    assert (await produce(raw, topic, batches[0])).error_code == OUT_OF_ORDER
    assert (await produce(raw, topic, batches[1])).base_offset == 1


async def test_a_gap_is_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic, producer = await topics.create("gap"), await new_producer(raw)
    await produce(raw, topic, build_batch([b"x"], producer=producer, sequence=0))
    answer = await produce(raw, topic, build_batch([b"z"], producer=producer, sequence=2))
    assert (answer.error_code, answer.base_offset) == (OUT_OF_ORDER, -1)
    assert await end_of(raw, topic) == 1


async def test_an_unknown_producer_may_start_anywhere(raw: RawClient, topics: TopicFactory) -> None:
    topic, producer = await topics.create("anywhere"), await new_producer(raw)
    answer = await produce(raw, topic, build_batch([b"x"], producer=producer, sequence=7))
    assert (answer.error_code, answer.base_offset) == (0, 0)


async def test_a_new_epoch_starts_at_zero(raw: RawClient, topics: TopicFactory) -> None:
    topic, (producer_id, epoch) = await topics.create("epoch"), await new_producer(raw)
    next_epoch = (producer_id, epoch + 1)
    await produce(raw, topic, build_batch([b"x"], producer=(producer_id, epoch), sequence=0))
    wrong = await produce(raw, topic, build_batch([b"x"], producer=next_epoch, sequence=1))
    right = await produce(raw, topic, build_batch([b"x"], producer=next_epoch, sequence=0))
    old = await produce(raw, topic, build_batch([b"x"], producer=(producer_id, epoch), sequence=1))
    codes = (wrong.error_code, right.error_code, old.error_code)
    assert codes == (OUT_OF_ORDER, 0, STALE_EPOCH)


async def test_sequences_wrap_around(raw: RawClient, topics: TopicFactory) -> None:
    topic, producer = await topics.create("wrap"), await new_producer(raw)
    last = 0x7FFFFFFF
    before = await produce(raw, topic, build_batch([b"x"], producer=producer, sequence=last))
    after = await produce(raw, topic, build_batch([b"y"], producer=producer, sequence=0))
    assert (before.error_code, after.error_code) == (0, 0)


async def test_a_damaged_batch_is_refused(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("damaged")
    batch = bytearray(build_batch([b"precious"]))
    batch[-3] ^= 1
    assert (await produce(raw, topic, bytes(batch))).error_code == CORRUPT
    assert await end_of(raw, topic) == 0


@pytest.mark.parametrize("acks", [2, -2])
async def test_strange_acks_are_refused(raw: RawClient, topics: TopicFactory, acks: int) -> None:
    topic = await topics.create("acks")
    answer = await raw.ask(request_for(topic, build_batch([b"x"]), acks), ProduceResponse)
    assert answer.topics[0].partitions[0].error_code == BAD_ACKS


async def test_unknown_topics_and_partitions_are_refused(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("known")
    nowhere = await produce(raw, "nobody-made-this", build_batch([b"x"]))
    entry = ProducePartition(9, build_batch([b"x"]))
    asked = ProduceRequest(None, -1, 5000, (ProduceTopic(topic, (entry,)),))
    no_partition = (await raw.ask(asked, ProduceResponse)).topics[0].partitions[0]
    assert (nowhere.error_code, no_partition.error_code) == (UNKNOWN_TOPIC, UNKNOWN_TOPIC)


async def test_the_size_limit_is_the_topics(raw: RawClient, topics: TopicFactory) -> None:
    small = await topics.create("small", configs={"max.message.bytes": "1000"})
    large = await topics.create("large", configs={"max.message.bytes": "6000000"})
    plain = await topics.create("plain")
    batch = build_batch([b"x" * 5_000_000])
    assert (await produce(raw, small, build_batch([b"x" * 1000]))).error_code == TOO_LARGE
    assert (await produce(raw, plain, batch)).error_code == TOO_LARGE
    assert (await produce(raw, large, batch)).error_code == 0


async def test_the_limit_is_exact(raw: RawClient, topics: TopicFactory) -> None:
    batch = build_batch([b"x" * 500])
    fits = await topics.create("fits", configs={"max.message.bytes": str(len(batch))})
    short = await topics.create("short", configs={"max.message.bytes": str(len(batch) - 1)})
    assert (await produce(raw, fits, batch)).error_code == 0
    assert (await produce(raw, short, batch)).error_code == TOO_LARGE


async def test_it_must_be_one_batch(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("count")
    batch = build_batch([b"x"])
    for records in (b"", batch + batch, batch[:30], batch[:-2]):
        assert (await produce(raw, topic, records)).error_code == INVALID_RECORD, records
    assert await end_of(raw, topic) == 0


async def test_a_scrap_behind_the_batch_is_cut_off(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("scrap")
    for records in (build_batch([b"x"]) + b"scrap", build_batch([b"y"]) + build_batch([b"z"])[:40]):
        assert (await produce(raw, topic, records)).error_code == 0
    assert await end_of(raw, topic) == 2


async def test_markers_are_not_for_clients(raw: RawClient, topics: TopicFactory) -> None:
    topic, producer = await topics.create("marker"), await new_producer(raw)
    batch = with_attributes(build_batch([b"x"], producer=producer, sequence=0), 0x20)
    assert (await produce(raw, topic, batch)).error_code == INVALID_RECORD


async def test_a_batch_must_count_its_records_right(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("miscounted")
    batch = bytearray(build_batch([b"x", b"y"]))
    batch[57:61] = struct.pack(">i", 1)
    assert (await produce(raw, topic, with_checksum(bytes(batch)))).error_code == INVALID_RECORD


async def test_a_batch_must_start_at_offset_zero(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("placed")
    batch = struct.pack(">q", 5) + build_batch([b"x"])[8:]
    assert (await produce(raw, topic, batch)).error_code == INVALID_RECORD


async def test_the_far_future_is_refused_and_the_far_past_is_not(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic = await topics.create("dates")
    in_two_hours = int(time.time() * 1000) + 2 * 3_600_000
    future = await produce(raw, topic, build_batch([b"x"], first_timestamp_ms=in_two_hours))
    past = await produce(raw, topic, build_batch([b"x"], first_timestamp_ms=1))
    assert (future.error_code, past.error_code) == (BAD_TIME, 0)


async def test_transactional_batches_need_a_transactional_id(
    raw: RawClient, topics: TopicFactory
) -> None:
    topic, producer = await topics.create("no-id"), await new_producer(raw)
    batch = build_batch([b"x"], producer=producer, sequence=0, transactional=True)
    assert (await produce(raw, topic, batch)).error_code == NOT_AUTHORIZED


async def test_no_acks_means_no_answer(raw: RawClient, topics: TopicFactory) -> None:
    topic = await topics.create("silent")
    frame = encode_request(APIS[0], request_for(topic, build_batch([b"x"]), acks=0), 8)
    host, _, port = topics.bootstrap.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    versions = b"\x00\x12\x00\x00\x00\x00\x00\x09\xff\xff"
    for piece in (frame, versions):
        writer.write(struct.pack(">i", len(piece)) + piece)
    answer = await reader.readexactly(8)
    writer.close()
    assert answer[4:] == b"\x00\x00\x00\x09"
    assert await end_of(raw, topic) == 1


async def test_no_acks_and_a_refusal_closes_the_connection(
    raw: RawClient, topics: TopicFactory
) -> None:
    assert topics.bootstrap
    asked = request_for("nobody-made-this", build_batch([b"x"]), acks=0)
    with pytest.raises(asyncio.IncompleteReadError):
        await raw.send(encode_request(APIS[0], asked, 8))


async def end_of(raw: RawClient, topic: str) -> int:
    asked = ListOffsetsRequest(
        -1, 0, (ListOffsetsTopic(topic, (ListOffsetsPartition(0, -1, -1),)),)
    )
    answer = await raw.ask(asked, ListOffsetsResponse)
    return answer.topics[0].partitions[0].offset


def with_attributes(batch: bytes, bits: int) -> bytes:
    (attributes,) = struct.unpack_from(">h", batch, 21)
    return with_checksum(batch[:21] + struct.pack(">h", attributes | bits) + batch[23:])


def with_checksum(batch: bytes) -> bytes:
    return batch[:17] + struct.pack(">I", calc_crc32c(batch[21:])) + batch[21:]
