from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.streams.broker.kept_broker import TOPIC, KeptBroker
from batuta.streams.broker.raw_client import build_batch

if TYPE_CHECKING:
    from batuta.streams.broker.log import PartitionLog

DAY_MS = 86_400_000
OUT_OF_RANGE = 1


def compacted(**configs: object) -> KeptBroker:
    kept = KeptBroker()
    given_configs = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": 0, **configs}
    assert kept.create(TOPIC, 1, **given_configs) == 0
    return kept


def log_of(kept: KeptBroker) -> PartitionLog:
    log = kept.driver.broker.state.topics.partition(TOPIC, 0)
    assert log is not None
    return log


def seal(kept: KeptBroker) -> None:
    """Begin a new segment: what lies in the others may be cleaned."""
    log_of(kept).storage.roll(kept.end_of(), kept.clock.wall_ms())


def clean(kept: KeptBroker, after_ms: int = 0) -> None:
    """Let the background work run until it rests."""
    kept.clock.advance(max(kept.settings.housekeeping_interval_ms, after_ms))


def table(kept: KeptBroker) -> dict[bytes | None, tuple[int, bytes | None]]:
    return {key: (offset, value) for offset, key, value in kept.read()}


def test_of_each_key_the_last_record_stays_at_its_offset() -> None:
    kept = compacted()
    kept.put(a="1", b="1")
    kept.put(a="2", c="1")
    kept.put(a="3")
    before = table(kept)
    seal(kept)
    clean(kept)
    expected = [(1, b"b", b"1"), (3, b"c", b"1"), (4, b"a", b"3")]
    assert kept.read() == expected
    assert table(kept) == before
    assert kept.fetch(0, 2).error_code == 0
    assert (kept.start_of(), kept.end_of()) == (0, 5)
    for again in (kept.killed(), kept.stopped()):
        assert again.read() == expected
        assert (again.start_of(), again.end_of()) == (0, 5)


def test_nothing_at_or_behind_the_last_stable_offset_is_compacted() -> None:
    kept = compacted()
    kept.put(a="1")
    owner = kept.init("tx")
    kept.add("tx", owner, 0)
    kept.send("tx", owner, b"open", (0, 0))
    kept.put(a="2")
    seal(kept)
    clean(kept)
    assert [row[0] for row in kept.read(committed=False)] == [0, 1, 2]
    kept.end("tx", owner, commit=True)
    seal(kept)
    clean(kept)
    assert [row[0] for row in kept.read(committed=False)] == [1, 2]


def test_a_tombstone_stays_as_long_as_it_must_and_then_goes() -> None:
    kept = compacted(delete_retention_ms=DAY_MS)
    kept.put(a="1", b="1")
    kept.put(a=None)
    seal(kept)
    clean(kept)
    assert kept.read() == [(1, b"b", b"1"), (2, b"a", None)]
    kept.put(c="1")
    seal(kept)
    clean(kept, DAY_MS // 2)
    assert (2, b"a", None) in kept.read()
    kept.put(d="1")
    seal(kept)
    clean(kept, DAY_MS)
    kept.put(e="1")
    seal(kept)
    clean(kept)
    assert [row[1] for row in kept.read()] == [b"b", b"c", b"d", b"e"]
    assert kept.killed().read() == kept.read()


def test_what_was_aborted_goes_and_its_marker_when_it_has_been_kept_long_enough() -> None:
    kept = compacted(delete_retention_ms=DAY_MS)
    kept.put(a="good")
    owner = kept.init("tx")
    for sequence, commit in enumerate((False, True)):
        kept.add("tx", owner, 0)
        batch = build_batch(
            [b"bad" if not commit else b"better"],
            producer=owner,
            sequence=sequence,
            transactional=True,
            keys=[b"a" if not commit else b"b"],
        )
        assert kept.produce(batch, 0, "tx") == 0
        kept.end("tx", owner, commit=commit)
    seal(kept)
    clean(kept)
    rows = [(0, b"a", b"good"), (3, b"b", b"better")]
    assert kept.read() == rows
    assert [row[0] for row in kept.read(committed=False)] == [0, 3]
    assert len(kept.fetch().aborted_transactions or ()) == 1
    assert kept.killed().read() == rows
    kept.put(c="1")
    seal(kept)
    clean(kept, 2 * DAY_MS)
    kept.put(d="1")
    seal(kept)
    clean(kept)
    for later in (kept, kept.killed(), kept.stopped()):
        assert later.read()[:2] == rows
        assert later.fetch().aborted_transactions == ()


def test_an_old_sequence_is_still_known_after_compaction() -> None:
    kept = compacted()
    producer = kept.init(None)
    batch = build_batch([b"1"], producer=producer, sequence=0, keys=[b"a"])
    assert kept.produce(batch) == 0
    kept.put(a="2")
    seal(kept)
    clean(kept)
    assert [row[0] for row in kept.read()] == [1]
    again = kept.killed()
    assert again.place(batch).base_offset == 0, "a duplicate, not a new record"
    assert again.end_of() == 2


@pytest.mark.parametrize("codec", range(5))
def test_compressed_batches_are_compacted(codec: int) -> None:
    kept = compacted()
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for index, key in enumerate((b"a", b"b", b"a")):
        builder.append(index, kept.clock.wall_ms(), key, b"%d" % index * 50, [("h", b"x")])
    assert kept.produce(bytes(builder.build())) == 0
    seal(kept)
    clean(kept)
    assert kept.read() == [(1, b"b", b"1" * 50), (2, b"a", b"2" * 50)]
    assert kept.killed().read() == kept.read()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abcd"), st.sampled_from([None, "1", "2"])),
            st.sampled_from(["seal", "clean", "kill", "stop"]),
        ),
        max_size=40,
    )
)
def test_a_compacted_topic_says_the_same_of_every_key(
    story: list[tuple[str, str | None] | str],
) -> None:
    kept, model = compacted(delete_retention_ms=0), dict[bytes, bytes]()
    for step in story:
        match step:
            case "seal":
                seal(kept)
            case "clean":
                clean(kept)
            case "kill":
                kept = kept.killed()
            case "stop":
                kept = kept.stopped()
            case (key, value):
                assert kept.put(**{key: value}) == 0
                model[key.encode()] = (value or "").encode()
            case _:
                raise AssertionError(step)
        rows = kept.read()
        assert [row[0] for row in rows] == sorted({row[0] for row in rows})
        state = {key: value or b"" for _, key, value in rows}
        assert {k: v for k, v in state.items() if v} == {k: v for k, v in model.items() if v}


class Ended(BaseException):
    """The process is gone."""


def test_the_end_of_the_process_anywhere_in_compaction_loses_nothing() -> None:
    endings = 0
    while True:
        kept = compacted(delete_retention_ms=0)
        for number in range(3):
            kept.put(a=str(number), b=str(number))
            kept.put(**{f"only{number}": "x"})
            seal(kept)
        expected = {key: value for _, key, value in kept.read()}
        left = [endings]

        def count(_: str, __: str, left: list[int] = left) -> None:
            if not left[0]:
                raise Ended
            left[0] -= 1

        kept.memory.before_change = count
        ended = False
        try:
            clean(kept)
        except Ended:
            ended = True
        kept.memory.before_change = None
        again = kept.killed()
        assert {key: value for _, key, value in again.read()} == expected
        assert again.end_of() == 9
        clean(again)
        assert {key: value for _, key, value in again.read()} == expected
        assert len(again.read()) == 5
        if not ended:
            break
        endings += 1
    assert endings >= 10


# ---- the delete policy


def test_old_segments_go_when_their_time_is_over() -> None:
    kept = KeptBroker()
    kept.create(TOPIC, retention_ms=DAY_MS)
    kept.put(a="old")
    seal(kept)
    kept.clock.advance(DAY_MS // 2)
    kept.put(a="young")
    clean(kept)
    assert kept.values() == [b"old", b"young"]
    clean(kept, DAY_MS // 2)
    assert (kept.start_of(), kept.values()) == (1, [b"young"])
    assert kept.fetch(0, 0).error_code == OUT_OF_RANGE
    again = kept.killed()
    assert (again.start_of(), again.values()) == (1, [b"young"])
    clean(again, DAY_MS)
    assert (again.start_of(), again.end_of(), again.values()) == (2, 2, [])
    assert again.killed().place(build_batch([b"x"])).base_offset == 2


def test_records_that_were_old_when_they_came_are_kept_as_long() -> None:
    kept = KeptBroker()
    kept.create(TOPIC, retention_ms=DAY_MS)
    assert kept.produce(build_batch([b"history"], first_timestamp_ms=1_000_000_000_000)) == 0
    clean(kept, DAY_MS // 2)
    assert kept.values() == [b"history"]


def test_segments_go_when_there_is_too_much() -> None:
    kept = KeptBroker()
    kept.create(TOPIC, retention_bytes=2_000_000, segment_bytes=1_048_576, retention_ms=-1)
    for _ in range(5):
        assert kept.produce(build_batch([b"x" * 600_000])) == 0
    clean(kept)
    assert kept.start_of() == 1
    assert log_of(kept).storage.size >= 2_000_000
    assert kept.killed().start_of() == 1


def test_nothing_of_an_open_transaction_is_removed() -> None:
    kept = KeptBroker()
    kept.create(TOPIC, retention_ms=1000)
    owner = kept.init("tx", 900_000)
    kept.add("tx", owner, 0)
    kept.send("tx", owner, b"open", (0, 0))
    clean(kept)
    assert kept.start_of() == 0
    kept.end("tx", owner, commit=True)
    assert kept.values() == [b"open"]
    clean(kept)
    assert kept.start_of() == kept.end_of() == 2


def test_segments_begin_by_size_and_by_age() -> None:
    kept = KeptBroker()
    kept.create(TOPIC, segment_bytes=1_048_576, segment_ms=60_000)
    for _ in range(4):
        kept.produce(build_batch([b"x" * 400_000]))
    assert len(kept.segment_paths()) == 2
    kept.clock.advance(60_001)
    kept.produce(build_batch([b"late"]))
    assert len(kept.segment_paths()) == 3
    assert len(kept.killed().values()) == 5
