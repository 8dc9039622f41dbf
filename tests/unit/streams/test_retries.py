"""The retry rule, as the table its module draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiokafka import TopicPartition

from batuta.agents.state.alignment import HeldRecord
from batuta.schemas.errors import LaterError, OutputRefusedError, SinkUnavailableError
from batuta.schemas.record import Record
from batuta.schemas.watermark import Watermark
from batuta.streams.lanes.flights import Part
from batuta.streams.lanes.retries import (
    BuryOutputsIt,
    DeadLetterIt,
    RetryIt,
    SplitIt,
    Step,
    next_step,
    restart_backoff_ms,
)
from batuta.streams.settings import load_settings

SETTINGS = load_settings(retry_attempts_max=3, retry_backoff_ms=100, retry_backoff_ms_max=250)
TOO_LARGE = OutputRefusedError("too large", retriable=False, topic="out", size_bytes=5_000)
REFUSED = OutputRefusedError("refused", retriable=True)
SINK = SinkUnavailableError("away")
NO_FOR_GOOD = SinkUnavailableError("gone", retriable=False)
LATER = LaterError("later")
RECORD = Record("t", 0, 0, 0, b"k", b"v", ())


@pytest.mark.parametrize(
    ("error", "attempt", "records", "step"),
    [
        (TOO_LARGE, 1, 8, SplitIt()),
        (TOO_LARGE, 1, 1, DeadLetterIt("output_refused")),
        (REFUSED, 1, 8, RetryIt(100)),
        (REFUSED, 3, 8, SplitIt()),
        (REFUSED, 3, 1, DeadLetterIt("output_refused")),
        (LATER, 1, 8, RetryIt(100)),
        (LATER, 2, 8, RetryIt(200)),
        (LATER, 3, 8, SplitIt()),
        (LATER, 3, 1, DeadLetterIt("gave_up")),
        (SINK, 1, 1, RetryIt(100)),
        (SINK, 3, 1, DeadLetterIt("sink_unavailable")),
        (NO_FOR_GOOD, 1, 8, SplitIt()),
        (NO_FOR_GOOD, 1, 1, DeadLetterIt("sink_unavailable")),
    ],
)
def test_next_step(error: LaterError, attempt: int, records: int, step: Step) -> None:
    part = Part([RECORD] * records, {})
    assert next_step(error, attempt, part, SETTINGS) == step


def test_what_is_no_record_is_tried_apart_from_the_records_and_never_given_up() -> None:
    part = Part([RECORD], {}, timers=True)
    assert next_step(LATER, 3, part, SETTINGS) == SplitIt()
    timers, records = part.halves()
    assert (timers.records, records.records) == ((), [RECORD])
    assert next_step(LATER, 3, timers, SETTINGS) == RetryIt(250)
    assert next_step(REFUSED, 3, timers, SETTINGS) == RetryIt(250)


def test_an_output_too_large_is_given_up_where_no_record_is_to_be() -> None:
    timers = Part((), {}, timers=True)
    assert next_step(TOO_LARGE, 1, timers, SETTINGS) == BuryOutputsIt("out", 5_000)
    both = Part([RECORD], {}, timers=True)
    assert next_step(TOO_LARGE, 1, both, SETTINGS) == SplitIt()


def test_watermarks_are_heard_behind_the_records_that_they_were_told_behind() -> None:
    tp = TopicPartition(RECORD.topic, RECORD.partition)
    told = ((0, Watermark(0, 9_000)),)
    part = Part([RECORD], {tp: RECORD.offset + 5}, timers=True, watermarks=told)
    records, rest = part.halves()
    assert records == Part([RECORD], {tp: RECORD.offset + 1})
    assert rest == Part((), {tp: RECORD.offset + 5}, timers=True, watermarks=told)


def test_held_records_are_split_in_turn_and_only_behind_those_that_were_read() -> None:
    held = tuple(HeldRecord(n, 0, RECORD._replace(offset=n)) for n in range(3))
    tp = TopicPartition(RECORD.topic, RECORD.partition)
    read = Part([RECORD], {tp: 7}, timers=True, released=held)
    first, rest = read.halves()
    assert first == Part([RECORD], {tp: RECORD.offset + 1}, released=())
    assert rest == Part((), {tp: 7}, timers=True), "what is due is looked for anew"
    timers, released = replace(rest, released=held).halves()
    assert timers == Part((), {tp: 7}, timers=True, released=())
    assert next_step(LATER, 3, timers, SETTINGS) == RetryIt(250)
    assert released == Part((), {}, released=held)
    one, two = released.halves()
    assert (one.released, two.released) == (held[:1], held[1:])
    assert next_step(LATER, 3, one, SETTINGS) == DeadLetterIt("gave_up")
    assert next_step(LATER, 3, two, SETTINGS) == SplitIt()
    records = Part([RECORD, RECORD], {tp: 7}, released=())
    assert [half.released for half in records.halves()] == [(), ()]


def test_backoff_doubles_up_to_its_bound_however_long_it_goes_on() -> None:
    waits = [restart_backoff_ms(restarts, SETTINGS) for restarts in (0, 1, 2, 3, 10**9)]
    assert waits == [100, 200, 250, 250, 250]
