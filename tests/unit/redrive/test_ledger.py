"""Which dead letters are meant, how they are counted, and how a redriven one is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from batuta.schemas.dead_letter import DeadLetter
from batuta.schemas.errors import RefusedEventError
from batuta.schemas.record import Output, Record
from batuta.schemas.redriven import (
    REDRIVEN_OF,
    LetterId,
    Marker,
    decode_marker,
    encode_marker,
    encode_pruned,
    redriven_headers,
)
from batuta.streams.cli.deadletters_groups import Groups, Kind
from batuta.streams.deadletters.dead_letters import Found, Ledger
from batuta.streams.deadletters.letter_selection import Selection, schema_path

MARKER = Marker(LetterId(2, 17), 1_000, "scoring", fixed=True, redriven_at_ms=3_000)
GOLDEN = (
    b'{"version":1,"partition":2,"offset":17,"letter_ms":1000,"stage":"scoring","fixed":true,'
    b'"redriven_at":"1970-01-01T00:00:03.000Z"}'
)


def found(offset: int = 17, timestamp_ms: int = 1_000, **changes: Any) -> Found:
    record = Record("fraud.events", 2, 5, 500, b"k", b"{}", ())
    letter = DeadLetter(record, "scoring", "bad_value", "d", refused_at_ms=900)
    return Found(LetterId(2, offset), timestamp_ms, replace(letter, **changes))


def read(output: Output, value: bytes | None) -> Record:
    return Record(output.topic, output.partition or 0, 0, 0, output.key, value, output.headers)


def test_a_marker_is_written_as_it_always_was() -> None:
    output = encode_marker(MARKER, "fraud.redriven")
    assert (output.key, output.value, output.partition) == (b"2:17", GOLDEN, 2)
    assert decode_marker(read(output, output.value)) == MARKER


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (GOLDEN.replace(b'"version":1', b'"version":2'), "version 1 is read here"),
        (b"{}", "version"),
        (b"torn", "not JSON"),
        (GOLDEN.replace(b"17", b"-1"), "offset"),
    ],
)
def test_a_marker_that_cannot_be_read_is_never_skipped(value: bytes, says: str) -> None:
    with pytest.raises(RefusedEventError, match=r"fraud.redriven\[2\]@0") as refused:
        decode_marker(read(encode_marker(MARKER, "fraud.redriven"), value))
    assert says in refused.value.detail


def test_a_marker_stands_for_its_dead_letter_and_for_none_of_a_topic_made_anew() -> None:
    ledger = Ledger()
    ledger.add(MARKER)
    assert found() in ledger
    assert ledger.marker_of(found()) == MARKER
    assert found(timestamp_ms=1_001) not in ledger
    assert found(offset=18) not in ledger


def test_a_marker_has_outlived_its_dead_letter_once_that_is_gone_and_time_has_passed() -> None:
    ledger = Ledger()
    ledger.add(MARKER)
    redriven_ms, gone = MARKER.redriven_at_ms, {2: 18}
    assert ledger.outlived(gone, redriven_ms + 1) == [MARKER.letter]
    assert ledger.outlived(gone, redriven_ms) == []
    assert ledger.outlived({2: 17}, redriven_ms + 1) == [], "it is the first that is there"
    assert ledger.outlived({0: 99}, redriven_ms + 1) == [], "nobody knows of its partition"
    pruned = encode_pruned(MARKER.letter, "fraud.redriven")
    marked = encode_marker(MARKER, "fraud.redriven")
    assert pruned.value is None
    assert (pruned.key, pruned.partition) == (marked.key, marked.partition)
    ledger.remove(MARKER.letter)
    assert found() not in ledger


def test_a_redriven_record_names_the_last_dead_letter_it_was() -> None:
    once = redriven_headers((("a", b"1"),), LetterId(0, 1))
    assert once == (("a", b"1"), (REDRIVEN_OF, b"0:1"))
    assert redriven_headers(once, LetterId(3, 4)) == (("a", b"1"), (REDRIVEN_OF, b"3:4"))


@pytest.mark.parametrize("text", ["", "2", "2:", ":7", "-1:7", "2:7:1", "a:b", "2: 7", "٢:7"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PARTITION:OFFSET"):
        LetterId.parse(text)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("amount", "amount"),
        ("lines/3/n", "lines/*/n"),
        ("lines/12", "lines/*"),
        ("3", "3"),
        ("a3/b4", "a3/b4"),
        ("l/1/2/n", "l/*/*/n"),
    ],
)
def test_items_of_a_list_share_a_schema_path(path: str, schema: str) -> None:
    assert schema_path(path) == schema


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(ids=frozenset([LetterId(2, 17)])), True),
        (Selection(ids=frozenset([LetterId(2, 18)])), False),
        (Selection(reason="bad_value", stage="scoring"), True),
        (Selection(reason="bad_value", stage="ingestion"), False),
        (Selection(reason="bad_time"), False),
        (Selection(path="lines/3/n"), True),
        (Selection(path="lines/*/n"), True),
        (Selection(path="lines/4/n"), False),
        (Selection(since_ms=900, until_ms=901), True),
        (Selection(since_ms=901), False),
        (Selection(until_ms=900), False),
    ],
)
def test_a_selection_means_what_all_its_parts_do(selection: Selection, *, meant: bool) -> None:
    assert (found(path="lines/3/n") in selection) is meant
    assert selection.chosen is (selection != Selection())


def test_groups_count_what_waits_and_what_was_redriven() -> None:
    groups = Groups()
    groups.add(found(1, path="lines/0/n", refused_at_ms=300), redriven=False)
    groups.add(found(2, path="lines/7/n", refused_at_ms=100), redriven=True)
    groups.add(found(3, path="other", refused_at_ms=200), redriven=True)
    first, second = groups.by_kind.items()
    assert first[0] == Kind("bad_value", "scoring", "lines/*/n")
    assert (first[1].waiting, first[1].redriven) == (1, 1)
    assert (first[1].first_ms, first[1].last_ms) == (100, 300)
    assert first[1].example.id == LetterId(2, 1), "an example that waits, where one does"
    assert (second[1].waiting, second[1].redriven) == (0, 1)


def test_names_that_producers_choose_do_not_grow_the_groups_without_bound() -> None:
    groups = Groups()
    for number in range(3_000):
        groups.add(found(number, path=f"field{number}"), redriven=False)
    assert len(groups.by_kind) == 1_001
    assert sum(group.waiting for group in groups.by_kind.values()) == 3_000
