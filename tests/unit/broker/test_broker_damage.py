from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.streams.broker.journal import FOLDER
from batuta.streams.broker.kept_broker import TOPIC, KeptBroker
from batuta.streams.broker.raw_client import build_batch
from batuta.streams.broker.segment_scan import CorruptFileError, FormatError


def three_batches() -> KeptBroker:
    kept = KeptBroker()
    assert kept.create(TOPIC) == 0
    for value in (b"first", b"second", b"third"):
        assert kept.produce(build_batch([value])) == 0
    return kept


def last_batch_at(kept: KeptBroker) -> tuple[str, int, int]:
    """The file, where its last batch starts, and where it ends."""
    log = kept.driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    segment = log.storage.segments[-1]
    return segment.path, segment.start_of(len(segment.bases) - 1), segment.size


def test_a_write_torn_at_any_byte_is_cut_off() -> None:
    kept = three_batches()
    path, start, end = last_batch_at(kept)
    for size in range(start, end):
        torn = KeptBroker(kept.memory.copy())
        torn.disk.truncate(path, size)
        again = torn.killed()
        assert again.values() == [b"first", b"second"]
        assert (again.report.torn_writes, again.report.torn_bytes) == (
            int(size > start),
            size - start,
        )
        assert again.place(build_batch([b"anew"])).base_offset == 2
        assert again.killed().values() == [b"first", b"second", b"anew"]


@settings(max_examples=200, deadline=None)
@given(spot=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_flipped_in_the_last_write_never_reaches_a_reader(spot: float, bit: int) -> None:
    kept = three_batches()
    path, start, end = last_batch_at(kept)
    position = start + int(spot * (end - start))
    (byte,) = kept.disk.read(path, position, 1)
    kept.disk.write(path, position, bytes([byte ^ 1 << bit]))
    again = kept.killed()
    assert again.values() == [b"first", b"second"]
    assert again.place(build_batch([b"anew"])).base_offset == 2
    assert again.killed().values() == [b"first", b"second", b"anew"]


@settings(max_examples=200, deadline=None)
@given(spot=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_flipped_before_the_last_write_is_refused(spot: float, bit: int) -> None:
    kept = three_batches()
    path, end, _ = last_batch_at(kept)
    position = int(spot * end)
    (byte,) = kept.disk.read(path, position, 1)
    kept.disk.write(path, position, bytes([byte ^ 1 << bit]))
    with pytest.raises(CorruptFileError) as refused:
        kept.killed()
    assert refused.value.path == path
    assert refused.value.position <= position
    assert path in str(refused.value)
    assert len(kept.killed(salvage=True).values()) >= 1


def test_after_a_clean_stop_a_cut_log_is_damage() -> None:
    kept = three_batches()
    path, start, _ = last_batch_at(kept)
    stopped = kept.stopped()
    stopped.disk.truncate(path, start)
    with pytest.raises(CorruptFileError, match="from offset 2 to 3 are missing"):
        stopped.killed()
    salvaged = stopped.killed(salvage=True)
    assert salvaged.values() == [b"first", b"second"]
    assert salvaged.place(build_batch([b"anew"])).base_offset == 3
    assert salvaged.killed().values() == [b"first", b"second", b"anew"]


def test_a_missing_segment_is_damage() -> None:
    kept = three_batches()
    log = kept.driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    log.storage.roll(3, kept.clock.wall_ms())
    kept.produce(build_batch([b"fourth"]))
    log.storage.roll(4, kept.clock.wall_ms())
    kept.produce(build_batch([b"fifth"]))
    kept.disk.remove(kept.segment_paths()[1])
    with pytest.raises(CorruptFileError, match="from offset 3 to 4 are missing"):
        kept.killed()
    assert kept.killed(salvage=True).values() == [b"first", b"second", b"third", b"fifth"]


def test_salvage_keeps_the_damaged_file_and_what_can_be_read() -> None:
    kept = three_batches()
    (path,) = kept.segment_paths()
    damaged = kept.contents(path).replace(b"second", b"sEcond")
    kept.disk.write(path, 0, damaged)
    with pytest.raises(CorruptFileError, match="--salvage"):
        kept.killed()
    salvaged = kept.killed(salvage=True)
    assert salvaged.values() == [b"first", b"third"]
    assert salvaged.report.salvaged == [path]
    assert salvaged.contents(f"{path}.damaged") == damaged
    assert salvaged.killed().values() == [b"first", b"third"]


def test_a_file_of_another_version_is_refused() -> None:
    kept = three_batches()
    path = f"{FOLDER}/{kept.disk.names(FOLDER)[0]}"
    kept.disk.write(path, 8, struct.pack(">I", 2))
    with pytest.raises(FormatError, match="version 2, this batuta reads 1"):
        kept.killed()


def test_a_torn_entry_of_the_journal_is_cut_off(kept: KeptBroker) -> None:
    kept.commit_offset("group", 1)
    path = f"{FOLDER}/{kept.disk.names(FOLDER)[0]}"
    start = kept.disk.size(path)
    kept.commit_offset("group", 2)
    for size in range(start, kept.disk.size(path)):
        torn = KeptBroker(kept.memory.copy())
        torn.disk.truncate(path, size)
        again = torn.killed()
        assert again.offset_of("group") == 1
        assert again.commit_offset("group", 3) == 0
        assert again.killed().offset_of("group") == 3


def test_a_damaged_entry_in_the_middle_of_the_journal_is_refused(kept: KeptBroker) -> None:
    kept.commit_offset("first", 1)
    path = f"{FOLDER}/{kept.disk.names(FOLDER)[0]}"
    start = kept.disk.size(path)
    kept.commit_offset("second", 2)
    kept.commit_offset("third", 3)
    kept.disk.write(path, start + 12, b"?")
    with pytest.raises(CorruptFileError, match=f"{path}, byte {start}"):
        kept.killed()
    salvaged = kept.killed(salvage=True)
    assert [salvaged.offset_of(group) for group in ("first", "second", "third")] == [1, -1, 3]
    assert salvaged.killed().offset_of("third") == 3
