"""A dead letter gives its original back byte for byte, however often it was redriven."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.schemas.codec import decode_dead_letter, encode_dead_letter
from batuta.schemas.dead_letter import DEAD_LETTER_PREFIX, DeadLetter
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Headers, Output, Record

text = st.text(st.characters(codec="utf-8"), max_size=20)
names = text | st.sampled_from(
    [DEAD_LETTER_PREFIX + name for name in ("version", "stage", "reason", "topic", "", "x")]
)
headers: st.SearchStrategy[Headers] = st.lists(
    st.tuples(names, st.binary(max_size=20)), max_size=5
).map(tuple)
number = st.integers(0, 2**53)
letters = st.builds(
    DeadLetter,
    record=st.builds(
        Record,
        topic=text,
        partition=number,
        offset=number,
        timestamp_ms=number,
        key=st.none() | st.binary(max_size=20),
        value=st.none() | st.binary(max_size=50),
        headers=headers,
    ),
    stage=text,
    reason=text,
    detail=text,
    refused_at_ms=st.integers(0, 2**47),
    path=text,
    attempts=number,
)
LETTER = DeadLetter(
    record=Record("fraud.events", 3, 17, 5, b"c1", b"\xff", (("a", b"1"), ("a", b"\xfe"))),
    stage="ingestion",
    reason="not_json",
    detail="the value is not JSON",
    refused_at_ms=1_522_577_863_052,
)


def _read(output: Output) -> Record:
    return Record(output.topic, 1, 2, 3, output.key, output.value, output.headers)


@given(letters)
def test_a_dead_letter_reads_back_whatever_the_original_carries(letter: DeadLetter) -> None:
    output = encode_dead_letter(letter, "fraud.deadletters")
    assert (output.key, output.value) == (letter.record.key, letter.record.value)
    assert output.headers[: len(letter.record.headers)] == letter.record.headers
    assert decode_dead_letter(_read(output)) == letter


def test_a_redrive_refused_again_keeps_its_whole_story() -> None:
    once = _read(encode_dead_letter(LETTER, "fraud.deadletters"))
    twice = _read(encode_dead_letter(DeadLetter(once, "redrive", "null_value", "d", 9), "later"))
    outer = decode_dead_letter(twice)
    assert outer.record == once
    assert decode_dead_letter(outer.record) == LETTER


def _without(letter: DeadLetter, *names: str, **changes: bytes) -> Record:
    record = _read(encode_dead_letter(letter, "t"))
    kept = [
        (name, changes.get(name.removeprefix(DEAD_LETTER_PREFIX), raw))
        for name, raw in record.headers
        if name.removeprefix(DEAD_LETTER_PREFIX) not in names
    ]
    return record._replace(headers=tuple(kept))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (LETTER.record, "missing_field"),
        (_without(LETTER, version=b"2"), "unknown_version"),
        (_without(LETTER, version=b"\xff"), "unknown_version"),
        (_without(LETTER, "topic"), "bad_value"),
        (_without(LETTER, partition=b"first"), "bad_value"),
        (_without(LETTER, offset=b""), "bad_value"),
        (_without(LETTER, **{"refused-at": b"yesterday"}), "bad_value"),
        (_without(LETTER, **{"refused-at": b"2018-04-01T10:17:43"}), "bad_value"),
    ],
)
def test_what_is_no_dead_letter_is_refused(record: Record, reason: str) -> None:
    with pytest.raises(RefusedEventError) as refused:
        decode_dead_letter(record)
    assert refused.value.reason == reason
