"""Fetches drained at once: nothing is taken twice, passed over, or lost to damage."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from batuta.streams.lanes import kafka_fetches
from batuta.streams.lanes.kafka_fetches import Fetches

if TYPE_CHECKING:
    from collections.abc import Iterable

TP = TopicPartition("transactions", 0)
ABORT = struct.pack(">hh", 0, 0)
COMMIT = struct.pack(">hh", 0, 1)


class _Position:
    """What the consumer knows of the partition."""

    active = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, tp: TopicPartition) -> _Position:
        assert tp == TP
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def _batch(base: int, count: int, producer: int = -1, control: bytes = b"") -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, int(producer >= 0), producer, 0, 0, 1 << 20)
    for n in range(count):
        builder.append(n, 1_000, control or b"k", b"%d" % (base + n), [])
    raw = builder.build()
    raw[:8] = struct.pack(">q", base)
    if control:
        raw[22] |= 0b0010_0000
        raw[17:21] = struct.pack(">I", calc_crc32c(raw[21:]))
    return bytes(raw)


def _result(
    raw: bytes, position: int, aborted: Iterable[tuple[int, int]] = (), level: int = 1
) -> tuple[FetchResult, _Position]:
    known = _Position(position)
    theirs = PartitionRecords(TP, MemoryRecords(raw), [*aborted], position, None, None, True, level)
    result = FetchResult(TP, assignment=known, partition_records=theirs, backoff=0)
    fetches = Fetches()
    fetches[TP] = result
    return result, known


@pytest.fixture(autouse=True)
def _drained() -> None:
    kafka_fetches.drain_at_once()


def _offsets(result: FetchResult, records_max: int | None = None) -> list[int]:
    records: list[Any] = result.getall(records_max)
    assert all(record.value == b"%d" % record.offset for record in records)
    return [record.offset for record in records]


@pytest.mark.parametrize("count", [3, 40])
def test_records_are_taken_in_pieces_over_batches(count: int) -> None:
    result, known = _result(_batch(10, count) + _batch(10 + count, count), 10)
    taken: list[int] = []
    while result.has_more():
        some = _offsets(result, 7)
        assert len(some) <= 7
        taken += some
        assert known.position == (taken[-1] + 1)
    assert taken == [*range(10, 10 + 2 * count)]


@pytest.mark.parametrize("count", [5, 50])
def test_from_within_a_batch_only_what_lies_behind_is_taken(count: int) -> None:
    result, known = _result(_batch(10, count), 12)
    assert _offsets(result) == [*range(12, 10 + count)]
    assert known.position == 10 + count


def test_a_batch_cut_short_is_left_for_the_next_fetch() -> None:
    result, known = _result(_batch(0, 20) + _batch(20, 20)[:-1], 0)
    assert _offsets(result) == [*range(20)]
    assert (known.position, result.has_more()) == (20, False)


@pytest.mark.parametrize(
    ("level", "expected"),
    [(1, [*range(20, 40), *range(61, 81)]), (0, [*range(40), *range(40, 60), *range(61, 81)])],
)
def test_aborted_transactions_and_markers_are_passed_over(level: int, expected: list[int]) -> None:
    raw = (
        _batch(0, 20, producer=5)
        + _batch(20, 20, producer=6)
        + _batch(40, 20, producer=5)
        + _batch(60, 1, producer=5, control=ABORT)
        + _batch(61, 20, producer=5)
        + _batch(81, 1, producer=5, control=COMMIT)
    )
    result, known = _result(raw, 0, [(5, 0)], level)
    assert _offsets(result) == expected
    assert known.position == 82


@pytest.mark.parametrize("before", [0, 1])
def test_damage_is_raised_and_what_is_damaged_is_fetched_again(before: int) -> None:
    spoilt = bytearray(_batch(20 * before, 20))
    spoilt[-5] ^= 1
    whole = _batch(0, 20) if before else b""
    result, known = _result(whole + bytes(spoilt) + _batch(20 * before + 20, 20), 0)
    if before:
        assert _offsets(result, 20) == [*range(20)]
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        _offsets(result)
    assert _offsets(result) == []
    assert (known.position, result.has_more()) == (20 * before, False)


def test_a_partition_that_was_sought_meanwhile_gives_nothing() -> None:
    result, known = _result(_batch(0, 20), 0)
    known.position = 7
    assert _offsets(result) == []
    assert not result.has_more()


def test_batches_of_the_older_layout_are_read_too() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 20)
    for n in range(3):
        builder.append(n, timestamp=1_000, key=b"k", value=b"%d" % n)
    result, known = _result(bytes(builder.build()), 1)
    assert _offsets(result) == [1, 2]
    assert known.position == 3
