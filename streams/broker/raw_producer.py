"""A transactional producer that says exactly what it is told to, for tests of any Kafka broker."""

from __future__ import annotations

import time
from dataclasses import dataclass

from batuta.streams.broker.messages_offsets import (
    FetchedPartition,
    OffsetFetchGroup,
    OffsetFetchRequest,
    OffsetFetchResponse,
    TopicPartitions,
    TxnCommitPartition,
    TxnCommitTopic,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
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
from batuta.streams.broker.messages_transactions import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
)
from batuta.streams.broker.raw_client import RawClient, build_batch, eventually
from batuta.streams.broker.testing import TopicFactory

__all__ = ["NOT_YET", "Producer", "committed_offset", "fetch", "producer_of", "until_stable"]

#: What Apache Kafka answers while it still writes the markers of the transaction before.
NOT_YET = {14, 15, 16, 19, 51}


@dataclass
class Producer:
    """A transactional producer that says exactly what it is told to."""

    raw: RawClient
    transactional_id: str
    producer_id: int = -1
    epoch: int = -1

    async def init(self, timeout_ms: int = 60_000, version: int = 4) -> Producer:
        """Take a producer id and epoch."""
        request = InitProducerIdRequest(self.transactional_id, timeout_ms)

        async def ask() -> InitProducerIdResponse | None:
            answer = await self.raw.ask(request, InitProducerIdResponse, version)
            return None if answer.error_code in NOT_YET else answer

        answer = await eventually(ask)
        assert answer is not None
        assert answer.error_code == 0
        self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
        return self

    async def add(self, topic: str, *partitions: int, version: int = 3) -> list[int]:
        """Return the error code of each partition added."""
        request = AddPartitionsToTxnRequest(
            self.transactional_id,
            self.producer_id,
            self.epoch,
            (TopicPartitions(topic, partitions or (0,)),),
        )

        async def ask() -> list[int] | None:
            answer = await self.raw.ask(request, AddPartitionsToTxnResponse, version)
            found = sorted(answer.topics[0].partitions, key=lambda entry: entry.partition)
            codes = [entry.error_code for entry in found]
            return None if NOT_YET & set(codes) else codes

        return await eventually(ask) or []

    async def produce(self, topic: str, value: bytes, sequence: int, partition: int = 0) -> int:
        """Return the error code of one record written in the transaction."""
        batch = build_batch(
            [value],
            producer=(self.producer_id, self.epoch),
            sequence=sequence,
            transactional=True,
            first_timestamp_ms=time.time_ns() // 1_000_000,
        )
        entry = ProduceTopic(topic, (ProducePartition(partition, batch),))
        request = ProduceRequest(self.transactional_id, -1, 5000, (entry,))

        async def ask() -> list[int] | None:
            answer = await self.raw.ask(request, ProduceResponse)
            code = answer.topics[0].partitions[0].error_code
            return None if code in NOT_YET else [code]

        return (await eventually(ask) or [0])[0]

    async def end(self, *, commit: bool, version: int = 3) -> int:
        """Return the error code of ending the transaction."""
        request = EndTxnRequest(self.transactional_id, self.producer_id, self.epoch, commit)

        async def ask() -> list[int] | None:
            code = (await self.raw.ask(request, EndTxnResponse, version)).error_code
            return None if code in NOT_YET else [code]

        return (await eventually(ask) or [0])[0]

    async def add_offsets(self, group: str, version: int = 3) -> int:
        """Return the error code of adding a group."""
        request = AddOffsetsToTxnRequest(self.transactional_id, self.producer_id, self.epoch, group)

        async def ask() -> list[int] | None:
            code = (await self.raw.ask(request, AddOffsetsToTxnResponse, version)).error_code
            return None if code in NOT_YET else [code]

        return (await eventually(ask) or [0])[0]

    async def commit_offset(
        self, group: str, topic: str, offset: int, generation: int = -1, member: str = ""
    ) -> int:
        """Return the error code of an offset in the transaction."""
        entry = TxnCommitTopic(topic, (TxnCommitPartition(0, offset, 0, "note"),))
        request = TxnOffsetCommitRequest(
            self.transactional_id,
            group,
            self.producer_id,
            self.epoch,
            generation,
            member,
            None,
            (entry,),
        )

        async def ask() -> list[int] | None:
            answer = await self.raw.ask(request, TxnOffsetCommitResponse)
            code = answer.topics[0].partitions[0].error_code
            return None if code in NOT_YET else [code]

        return (await eventually(ask) or [0])[0]


async def producer_of(raw: RawClient, name: str = "tx") -> Producer:
    """Return an initialised producer of a fresh transactional id."""
    transactional_id = TopicFactory.unique(name)
    await raw.wait_for_coordinators(transactional_id)
    return await Producer(raw, transactional_id).init()


async def fetch(
    raw: RawClient, topic: str, offset: int = 0, *, committed: bool = True
) -> FetchPartitionResult:
    """Fetch partition 0 of a topic once."""
    entry = FetchPartition(0, fetch_offset=offset, max_bytes=1 << 20)
    request = FetchRequest(
        isolation_level=int(committed), topics=(FetchTopic(topic, partitions=(entry,)),)
    )
    return (await raw.ask(request, FetchResponse, 12)).topics[0].partitions[0]


async def until_stable(raw: RawClient, topic: str, offset: int) -> FetchPartitionResult:
    """Return what is fetched once the last stable offset reached `offset`."""

    async def stable() -> FetchPartitionResult | None:
        found = await fetch(raw, topic)
        return found if found.last_stable_offset >= offset else None

    found = await eventually(stable)
    assert found is not None
    return found


async def committed_offset(
    raw: RawClient, group: str, topic: str, *, stable: bool = False
) -> FetchedPartition:
    """Return what a group committed for partition 0."""
    asked = OffsetFetchGroup(group, topics=(TopicPartitions(topic, (0,)),))
    request = OffsetFetchRequest(groups=(asked,), require_stable=stable)
    answer = await raw.ask(request, OffsetFetchResponse)
    assert answer.groups[0].error_code == 0
    return answer.groups[0].topics[0].partitions[0]
