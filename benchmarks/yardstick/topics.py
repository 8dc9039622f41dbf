"""The topics of a benchmark: the events that are loaded once, and what an engine wrote."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from peers.work import event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["OutputReader", "Topics", "data_records"]

PATIENCE_S = 60.0

#: By partition, the offset behind the last record.
Ends = dict[int, int]


class Topics:
    """Topics of one broker, all with the same number of partitions."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self.bootstrap = bootstrap
        self.partitions = partitions
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(self, *names: str) -> None:
        """Create topics, and wait until they are seen."""
        made = [NewTopic(name, self.partitions, 1) for name in names]
        for created in self._admin.create_topics(made).values():
            created.result(30)
        # A busy broker answers before it leads what it has made.
        until = time.monotonic() + PATIENCE_S
        while not all(self._leads(name) for name in names):
            assert time.monotonic() < until, f"nobody leads {names}"
            time.sleep(0.05)

    def _leads(self, name: str) -> bool:
        topic = self._admin.list_topics(name, timeout=10).topics[name]
        try:
            for number in range(self.partitions):
                place = TopicPartition(name, number)
                asked = self._admin.list_offsets({place: OffsetSpec.latest()}, request_timeout=10)
                asked[place].result(10)
        except KafkaException:
            return False
        return topic.error is None and len(topic.partitions) == self.partitions

    def delete_all_but(self, *kept: str) -> None:
        """Delete what a round left, so that the broker's disk and caches stay as they were."""
        there = self._admin.list_topics(timeout=10).topics
        gone = [name for name in there if name not in kept and not name.startswith("__")]
        for deleted in self._admin.delete_topics(gone).values() if gone else ():
            deleted.result(30)

    def load(self, topic: str, numbers: Iterable[int]) -> None:
        """Write events, all of a card into one partition, as Java clients would."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1_000_000,
                "linger.ms": 20,
                "enable.idempotence": True,
            }
        )
        lost: list[object] = []
        for number in numbers:
            key, value = event(number)
            while True:
                try:
                    producer.produce(
                        topic, value, key, on_delivery=lambda e, _: e and lost.append(e)
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            if number % 1000 == 0:
                producer.poll(0)
        left = producer.flush(60)
        assert not left, f"{left} events were not loaded"
        assert not lost, f"events were not loaded: {lost[0]}"


class OutputReader:
    """Reads what an engine committed to a topic, and says how far it has written."""

    def __init__(self, topics: Topics, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": topics.bootstrap,
                "group.id": "yardstick",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.message.max.bytes": 8 << 20,
                "log_level": 0,
            }
        )
        self._partitions = [TopicPartition(topic, n, 0) for n in range(topics.partitions)]
        self._watching = Consumer(
            {
                "bootstrap.servers": topics.bootstrap,
                "group.id": "yardstick",
                "isolation.level": "read_uncommitted",
                "log_level": 0,
            }
        )

    def ends(self) -> Ends:
        """Return how far each partition is written, markers of transactions included."""
        return {p.partition: self._end(p) for p in self._partitions}

    def read(self, events: int, patience_s: float) -> list[tuple[int, int, bytes]]:
        """Return partition, offset and value of what is committed: all of it.

        Waits for so many events, as long as some come within `patience_s`; then reads to the end,
        so that what is doubled is seen too.
        """
        self._consumer.assign(self._partitions)
        found: list[tuple[int, int, bytes]] = []
        last = time.monotonic()
        at_end: set[int] = set()
        while time.monotonic() < last + patience_s:
            for message in self._consumer.consume(5_000, 0.1):
                error = message.error()
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  its only name
                        raise KafkaException(error)
                    at_end.add(partition)
                    continue
                assert offset is not None
                at_end.discard(partition)
                value = message.value()
                found.append((partition, offset, value if isinstance(value, bytes) else b""))
                last = time.monotonic()
            if len(found) >= events and len(at_end) == len(self._partitions):
                break
        return found

    def _end(self, partition: TopicPartition) -> int:
        """Return an end; a broker that has just made the topic may not know yet that it leads."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return max(0, self._watching.get_watermark_offsets(partition, timeout=10)[1])
            except KafkaException:
                if time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()
        self._watching.close()


def data_records(records: Iterable[tuple[int, int, bytes]], before: Ends, after: Ends) -> int:
    """Count the records between two ends: what an engine wrote meanwhile, markers left out."""
    return sum(before[partition] <= offset < after[partition] for partition, offset, _ in records)


def values(records: Iterable[tuple[int, int, bytes]]) -> Iterator[bytes]:
    """Yield the values alone."""
    return (value for _, _, value in records)
