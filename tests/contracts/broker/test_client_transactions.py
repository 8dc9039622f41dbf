from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

if TYPE_CHECKING:
    from batuta.streams.broker.testing import TopicFactory


async def test_committed_is_visible_and_aborted_is_not(topics: TopicFactory) -> None:
    topic = await topics.create("visible", partitions=2)
    producer = AIOKafkaProducer(
        bootstrap_servers=topics.bootstrap, transactional_id=topics.unique("tx")
    )
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"kept", partition=0)
        await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 5}, "group-" + topic)
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"dropped", partition=0)
    await producer.abort_transaction()
    async with producer.transaction():
        await producer.send_and_wait(topic, b"kept too", partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=topics.bootstrap,
        group_id="group2-" + topic,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    seen = [await consumer.getone(), await consumer.getone()]
    await consumer.stop()
    assert [m.value for m in seen] == [b"kept", b"kept too"]
    assert [m.offset for m in seen] == [0, 4]
