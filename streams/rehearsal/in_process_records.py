"""Record batches as a producer makes them and a read_committed reader takes them apart."""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from batuta.schemas.record import Record
from batuta.streams.broker.messages_records import FetchPartitionResult
from batuta.streams.lanes.log import Row

__all__ = ["OutgoingBatch", "committed_records", "outgoing_batches"]

_NO_COMPRESSION: Final = 0


class _Batch(Protocol):
    """What the batches of aiokafka's C code have."""

    base_offset: int
    next_offset: int
    producer_id: int | None
    is_control_batch: bool
    is_transactional: bool

    def validate_crc(self) -> bool: ...

    def __iter__(self) -> "Iterator[_RawRecord]": ...


class _RawRecord(Protocol):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class OutgoingBatch:
    """Records for one partition that travel together; the same bytes each time they are sent."""

    def __init__(self, now_ms: int, limit_bytes: int) -> None:
        self.count = 0
        self.data = b""
        self._now_ms = now_ms
        self._builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=_NO_COMPRESSION,
            is_transactional=1,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=0,
            batch_size=limit_bytes,
        )

    def add(self, row: Row) -> bool:
        """Take in one record, unless the batch is full; an empty one takes any."""
        key, value, headers = row
        taken = self._builder.append(
            self.count, self._now_ms, key=key, value=value, headers=list(headers)
        )
        if taken is None:
            return False
        self.count += 1
        return True

    def seal(self, producer: tuple[int, int], sequence: int) -> None:
        """Make the bytes: from now on a batch that was sent twice is known by its sequence."""
        self._builder.set_producer_state(*producer, sequence)
        self.data = bytes(self._builder.build())


def outgoing_batches(rows: Iterable[Row], now_ms: int, limit_bytes: int) -> list[OutgoingBatch]:
    """Put rows into as few batches as their size allows."""
    batches: list[OutgoingBatch] = []
    for row in rows:
        if not batches or not batches[-1].add(row):
            batches.append(OutgoingBatch(now_ms, limit_bytes))
            fitted = batches[-1].add(row)
            assert fitted, "an empty batch refused a record"
    return batches


def committed_records(
    tp: TopicPartition, found: FetchPartitionResult, position: int
) -> tuple[list[Record], int]:
    """Take apart what was fetched, without markers and without what was aborted.

    Args:
        tp: where it was fetched.
        found: the answer of a read_committed fetch.
        position: the first offset wanted; a batch may begin before it.

    Returns:
        The records and the next offset to fetch.

    Raises:
        CorruptRecordException: a batch is not what its producer sent.
    """
    spans = found.aborted_transactions or ()
    aborted = sorted((span.first_offset, span.producer_id) for span in spans)
    skipped: set[int | None] = set()
    records: list[Record] = []
    for batch in _batches(found.records or b""):
        if not batch.validate_crc():
            raise CorruptRecordException(f"{tp} holds a damaged batch at {batch.base_offset}")
        while aborted and aborted[0][0] <= batch.base_offset:
            skipped.add(aborted.pop(0)[1])
        if batch.is_control_batch:
            skipped.discard(batch.producer_id)
        elif not (batch.is_transactional and batch.producer_id in skipped):
            records += [_record(tp, raw) for raw in batch if raw.offset >= position]
        position = max(position, batch.next_offset)
    return records, position


def _batches(data: bytes) -> Iterator[_Batch]:
    batches = MemoryRecords(data)
    while batches.has_next():
        yield cast("_Batch", batches.next_batch())


def _record(tp: TopicPartition, raw: _RawRecord) -> Record:
    headers = tuple(raw.headers)
    return Record(tp.topic, tp.partition, raw.offset, raw.timestamp, raw.key, raw.value, headers)
