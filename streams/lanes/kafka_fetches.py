"""What aiokafka has fetched, drained many records at a time; the other half of `kafka_shim`.

aiokafka hands one record after the other through a generator, as a `ConsumerRecord`. Here a drain
takes the place of its `PartitionRecords` and makes records of ours of as many as are wanted at
once. Which batches are passed over, and why, is still aiokafka's to say.
"""

# pyright: reportPrivateUsage=false

import sys
from collections import OrderedDict
from collections.abc import Iterator  # noqa: TC003
from functools import partial
from itertools import dropwhile, islice
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchError, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException

from batuta.schemas.record import Record

__all__ = ["Fetches", "drain_at_once"]

_GET_ALL: Final = FetchResult.getall
_make: Final = tuple.__new__


class Drain:
    """One fetch of one partition; stands for aiokafka's `PartitionRecords`.

    Attributes:
        next_fetch_offset: behind what was taken.
        ended: whether nothing is left to take.
    """

    def __init__(self, tp: TopicPartition, theirs: PartitionRecords) -> None:
        self.next_fetch_offset: int = theirs.next_fetch_offset
        self.ended = False
        self._tp = tp
        self._fetched = theirs._records  # noqa: SLF001
        self._committed_only = theirs._isolation_level == READ_COMMITTED  # noqa: SLF001
        self._aborted_producers: set[int] = theirs._aborted_producers  # noqa: SLF001
        self._consume_aborted = theirs._consume_aborted_up_to  # noqa: SLF001
        self._is_abort = theirs._contains_abort_marker  # noqa: SLF001
        # Never begun, and in a circle with its owner, which the collector would find late.
        theirs._records_iterator = None  # noqa: SLF001
        #: The batch that records are being taken from, and the offset behind it.
        self._batch: Iterator[Any] = iter(())
        self._behind = self.next_fetch_offset

    def take(self, records_max: int) -> list[Record]:
        """Return the next records, at most so many.

        Raises:
            aiokafka.errors.CorruptRecordException: a batch is damaged; it has to be fetched again.
        """
        taken: list[Record] = []
        try:
            while not self.ended and len(taken) < records_max:
                some = self._some(records_max - len(taken))
                taken += some
                self.ended = not some and not self._advance()
        except BaseException:
            self.ended = True
            raise
        return taken

    def _some(self, records_max: int) -> list[Record]:
        """Return the next records of the present batch; none where it is read to its end."""
        topic, partition = self._tp
        # Past the named tuple's own constructor: a tenth of the runtime's time went there.
        some: list[Record] = [
            _make(
                Record,
                (topic, partition, raw.offset, raw.timestamp, raw.key, raw.value, (*raw.headers,)),
            )
            for raw in islice(self._batch, records_max)
        ]
        if len(some) < records_max:
            # At its end, where aiokafka's reader must not be asked again.
            self._batch, self.next_fetch_offset = iter(()), self._behind
        else:
            self.next_fetch_offset = some[-1].offset + 1
        return some

    def _advance(self) -> bool:
        """Go on to the next batch that is for us; say whether there is one."""
        while self._fetched.has_next():
            batch: Any = self._fetched.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            self._behind = batch.next_offset
            if not self._is_passed_over(batch):
                # A batch that a position lies in is fetched from its beginning.
                first = self.next_fetch_offset
                self._batch = dropwhile(partial(_lies_before, first), batch)
                return True
            self.next_fetch_offset = self._behind
        return False

    def _is_passed_over(self, batch: Any) -> bool:
        """Say whether a batch is a marker, or of a transaction that was aborted."""
        if self._committed_only and batch.producer_id is not None:
            self._consume_aborted(batch.base_offset)
            if batch.is_control_batch and self._is_abort(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)


class Fetches(OrderedDict[TopicPartition, FetchResult | FetchError]):
    """What a fetcher has fetched and nobody read yet."""

    def __setitem__(self, tp: TopicPartition, result: FetchResult | FetchError) -> None:
        """Let a fetch be drained at once."""
        if isinstance(result, FetchResult):
            theirs = result._partition_records  # noqa: SLF001
            assert isinstance(theirs, PartitionRecords), "aiokafka moved _partition_records"
            result._partition_records = Drain(tp, theirs)  # noqa: SLF001
        super().__setitem__(tp, result)


def _lies_before(offset: int, raw: Any) -> bool:
    return bool(raw.offset < offset)


def drain_at_once() -> None:
    """Let what `Fetches` holds be read by its drains."""
    if FetchResult.getall is _GET_ALL:
        setattr(FetchResult, "getall", _get_all)  # noqa: B010


def _get_all(self: FetchResult, max_records: int | None = None) -> list[Any]:
    drain = self._partition_records
    if not isinstance(drain, Drain):
        theirs: list[Any] = _GET_ALL(self, max_records)
        return theirs
    if not self.check_assignment(self._topic_partition):
        return []
    records = drain.take(sys.maxsize if max_records is None else max_records)
    self._update_position()
    if drain.ended:
        self._partition_records = None
    return records
