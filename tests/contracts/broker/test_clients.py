from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced
from aiokafka.structs import ConsumerRecord, OffsetAndTimestamp, TopicPartition
from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from confluent_kafka.cimpl import NewTopic as ConfluentTopic

from batuta.streams.broker.raw_client import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from faust.types import StreamT

    from batuta.streams.broker.testing import TopicFactory

DEADLINE_S = 30.0


async def read(
    topics: TopicFactory, topic: str, count: int
) -> list[ConsumerRecord[bytes | None, bytes | None]]:
    """The first committed records of a topic."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=topics.bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_order_keys_headers_nulls_and_tombstones_survive(topics: TopicFactory) -> None:
    topic = await topics.create("shapes")
    producer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, compression_type="gzip")
    await producer.start()
    sent: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
        (b"key", b"value", [("h", b"1"), ("h", b"2")]),
        (None, b"no key", []),
        (b"tombstone", None, []),
        (b"", b"", [("empty", b"")]),
        *[(b"n", str(number).encode(), []) for number in range(50)],
    ]
    for key, value, headers in sent:
        await producer.send(topic, value, key=key, headers=headers)
    await producer.stop()
    found = await read(topics, topic, len(sent))
    assert [(r.key, r.value, list(r.headers)) for r in found] == sent
    assert [r.offset for r in found] == list(range(len(sent)))


async def test_a_value_beyond_the_limit_is_refused(topics: TopicFactory) -> None:
    topic = await topics.create("large")
    producer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, max_request_size=8_000_000)
    await producer.start()
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, b"x" * 5_000_000)
    await producer.stop()


async def test_a_fenced_producer_hears_of_it(topics: TopicFactory) -> None:
    topic, name = await topics.create("fenced"), topics.unique("tx")
    old = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=name)
    new = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=name)
    await old.start()
    await old.begin_transaction()
    await old.send_and_wait(topic, b"lost")
    await new.start()
    with pytest.raises(ProducerFenced):
        await old.commit_transaction()
    async with new.transaction():
        await new.send_and_wait(topic, b"kept")
    await new.stop()
    await old.stop()
    assert [r.value for r in await read(topics, topic, 1)] == [b"kept"]


async def test_offsets_are_found_by_time(topics: TopicFactory) -> None:
    topic = await topics.create("time")
    start_ms = 1_700_000_000_000
    producer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap)
    await producer.start()
    for number in range(10):
        await producer.send(topic, b"x", timestamp_ms=start_ms + 10 * number)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=topics.bootstrap)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    found = await consumer.offsets_for_times({partition: start_ms + 45})
    await consumer.stop()
    assert found == {partition: OffsetAndTimestamp(5, start_ms + 50)}


async def test_two_consumers_share_and_one_takes_over(topics: TopicFactory) -> None:
    topic, group = await topics.create("shared", partitions=4), topics.unique("group")

    def consumer() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            topic,
            bootstrap_servers=topics.bootstrap,
            group_id=group,
            heartbeat_interval_ms=200,
            session_timeout_ms=6000,
            auto_offset_reset="earliest",
        )

    first, second = consumer(), consumer()
    await first.start()
    await second.start()

    async def shared() -> bool:
        await asyncio.gather(first.getmany(timeout_ms=10), second.getmany(timeout_ms=10))
        return len(first.assignment()) == len(second.assignment()) == 2

    await eventually(shared)
    await second.stop()

    async def alone() -> bool:
        await first.getmany(timeout_ms=10)
        return len(first.assignment()) == 4

    await eventually(alone)
    await first.stop()


async def drain(consumer: Consumer, count: int) -> list[Message]:
    """Consume without blocking the loop."""
    found: list[Message] = []

    async def enough() -> bool:
        found.extend(await asyncio.to_thread(consumer.consume, count, 0.2))
        return len(found) >= count

    await eventually(enough)
    return found


async def test_confluent_reads_its_own_transaction_and_its_offsets(topics: TopicFactory) -> None:
    source, sink = await topics.create("source"), await topics.create("sink")
    group = topics.unique("group")
    producer = Producer(
        {"bootstrap.servers": topics.bootstrap, "transactional.id": topics.unique("tx")}
    )
    await asyncio.to_thread(producer.init_transactions, DEADLINE_S)
    producer.begin_transaction()
    for number in range(3):
        producer.produce(source, str(number).encode(), key=b"k", headers=[("h", b"v")])
    await asyncio.to_thread(producer.commit_transaction, DEADLINE_S)
    consumer = Consumer(
        {
            "bootstrap.servers": topics.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([source])
    found = await drain(consumer, 3)
    assert [m.value() for m in found] == [b"0", b"1", b"2"]
    producer.begin_transaction()
    producer.produce(sink, b"answer")
    offsets = [ConfluentPartition(source, 0, 3)]
    metadata = consumer.consumer_group_metadata()
    await asyncio.to_thread(producer.send_offsets_to_transaction, offsets, metadata, DEADLINE_S)
    await asyncio.to_thread(producer.commit_transaction, DEADLINE_S)
    committed = await asyncio.to_thread(consumer.committed, [ConfluentPartition(source, 0)], 10)
    await asyncio.to_thread(consumer.close)
    assert [p.offset for p in committed] == [3]
    assert [r.value for r in await read(topics, sink, 1)] == [b"answer"]


async def test_confluent_creates_grows_and_deletes_topics(topics: TopicFactory) -> None:
    name = topics.unique("admin")
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    created = admin.create_topics([ConfluentTopic(name, 2, 1)])[name]
    await asyncio.to_thread(created.result, DEADLINE_S)
    grown = admin.create_partitions([NewPartitions(name, 5)])[name]
    await asyncio.to_thread(grown.result, DEADLINE_S)
    again = admin.create_topics([ConfluentTopic(name, 2, 1)])[name]
    with pytest.raises(KafkaException, match="TOPIC_ALREADY_EXISTS"):
        await asyncio.to_thread(again.result, DEADLINE_S)
    deleted = admin.delete_topics([name])[name]
    await asyncio.to_thread(deleted.result, DEADLINE_S)


class Greeting(faust.Record):
    name: str


async def test_a_stock_faust_agent_works(topics: TopicFactory, tmp_path: Path) -> None:
    source, sink = await topics.create("greetings"), await topics.create("answers")
    app = faust.App(
        topics.unique("faust"),
        broker=f"kafka://{topics.bootstrap}",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        datadir=str(tmp_path),
    )
    incoming = app.topic(source, value_type=Greeting)
    outgoing = app.topic(sink, value_serializer="raw")

    async def greet(greetings: StreamT[Greeting]) -> None:
        async for greeting in greetings:
            await outgoing.send(value=f"hello {greeting.name}".encode())

    app.agent(incoming)(greet)
    producer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap)
    await producer.start()
    for name in ("ada", "grace"):
        await producer.send(source, f'{{"name": "{name}"}}'.encode())
    await producer.stop()
    app.finalize()
    running = asyncio.create_task(app.start())
    try:
        answers = await read(topics, sink, 2)
    finally:
        await app.stop()
        await running
    values = cast("Sequence[bytes]", [answer.value for answer in answers])
    assert sorted(values) == [b"hello ada", b"hello grace"]
