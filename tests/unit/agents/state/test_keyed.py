"""A keyed table answers as a dict does, through layers, time to live, bound, dump and replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.state.battery import MOMENTS, Battery, load_all
from batuta.agents.state.codecs import INT, JSON, RAW, TEXT, Codec, Packed
from batuta.agents.state.keyed import EXPIRED_MAX, KeyedTable
from batuta.schemas.errors import StateCorruptError, StateFullError

if TYPE_CHECKING:
    from batuta.agents.state.battery import Step
    from batuta.agents.state.codecs import JsonValue

ENTRIES_MAX = 2
TTL_MS = 10
Table = KeyedTable[str, int]
Write = tuple[str, int | None]
KEYS = ["", "a", "ü"]
OFTEN = (*MOMENTS, "begin", "begin", "commit", "commit", "rollback")
MOMENT_STEPS = st.tuples(st.sampled_from(OFTEN), st.integers(0, 5).map(lambda n: 5 * n))
PUTS = st.tuples(st.sampled_from(KEYS), st.integers(-1, 0))
DELETES = st.tuples(st.sampled_from(KEYS), st.none())
STEPS = st.lists(
    st.one_of(MOMENT_STEPS, st.tuples(st.just("write"), st.one_of(PUTS, PUTS, DELETES))),
    min_size=20,
    max_size=60,
)


def lasting() -> Table:
    return KeyedTable(b"k", Codec(TEXT, INT), "things", entries_max=ENTRIES_MAX)


def ending() -> Table:
    return KeyedTable(b"k", Codec(TEXT, INT), "things", entries_max=ENTRIES_MAX, ttl_ms=TTL_MS)


@dataclass
class Naive:
    ttl_ms: int | None
    values: dict[str, int] = field(default_factory=dict[str, int])
    ends: dict[str, int] = field(default_factory=dict[str, int])
    written: set[str] = field(default_factory=set[str])


def write(table: Table, naive: Naive, step: Write) -> None:
    key, value = step
    if value is None:
        assert table.delete(key) is (naive.values.pop(key, None) is not None)
        naive.written.add(key)
    elif key not in naive.values and len(naive.values) == ENTRIES_MAX:
        with pytest.raises(StateFullError, match=r"things holds 2 .* entries_max"):
            table.put(key, value)
    else:
        table.put(key, value)
        naive.values[key] = value
        naive.written.add(key)


def settle(naive: Naive, now_ms: int) -> None:
    if naive.ttl_ms is not None:
        naive.ends |= dict.fromkeys(naive.written, now_ms + naive.ttl_ms)
        naive.values = {k: v for k, v in naive.values.items() if naive.ends[k] > now_ms}
    naive.written.clear()


def compare(table: Table, naive: Naive) -> None:
    assert {key: table.get(key) for key in KEYS} == {key: naive.values.get(key) for key in KEYS}
    assert [key for key in KEYS if key in table] == [key for key in KEYS if key in naive.values]
    expected = sorted(naive.values.items(), key=lambda item: item[0].encode())
    assert list(table.items()) == expected
    assert table.entries() == len(table) == len(expected)


@settings(deadline=None)
@given(STEPS)
def test_a_table_answers_as_a_dict_through_every_life_of_its_batches(
    steps: list[Step[Write]],
) -> None:
    Battery(lasting, lambda: Naive(None), write, settle, compare).run(steps)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_entries_end_when_their_time_to_live_has(steps: list[Step[Write]]) -> None:
    Battery(ending, lambda: Naive(TTL_MS), write, settle, compare).run(steps)


@given(st.lists(PUTS, max_size=ENTRIES_MAX))
def test_changes_do_not_depend_on_the_order_of_writes(puts: list[Write]) -> None:
    told = []
    for order in (dict(puts), dict(sorted(dict(puts).items()))):
        table = ending()
        table.begin()
        for key, value in order.items():
            table.put(key, value or 0)
        told.append(table.changes(5))
    assert told[0] == told[1]


def test_a_value_that_was_read_may_be_changed_without_changing_the_table() -> None:
    table: KeyedTable[int, JsonValue] = KeyedTable(b"j", Codec(INT, JSON), "docs", entries_max=9)
    table.begin()
    table.put(-1, {"n": [1]})
    read = table.get(-1)
    assert isinstance(read, dict)
    read["n"] = 2
    assert table.get(-1) == {"n": [1]}


def test_a_batch_tells_nothing_of_what_it_left_as_it_was() -> None:
    table = lasting()
    table.begin()
    table.put("a", 1)
    table.changes(0)
    table.commit()
    table.begin()
    table.put("a", 2)
    table.put("a", 1)
    table.put("b", 1)
    table.delete("b")
    assert table.changes(0) == []


def test_at_most_so_many_entries_end_with_one_batch() -> None:
    many = EXPIRED_MAX + 7
    table: KeyedTable[int, bytes] = KeyedTable(
        b"k", Codec(INT, RAW), "many", entries_max=many, ttl_ms=1
    )
    table.begin()
    for number in range(many):
        table.put(number, b"")
    table.changes(0)
    table.commit()
    table.begin()
    assert len(table.changes(1)) == EXPIRED_MAX
    table.begin()
    assert len(table.changes(1)) == 7
    table.rollback()
    assert len(table) == 7
    table.rollback()
    assert len(table) == many


def test_a_table_that_was_given_a_time_to_live_ends_the_entries_it_had_before() -> None:
    before = lasting()
    before.begin()
    before.put("a", 1)
    before.put("b", 2)
    table = load_all(ending(), before.changes(0))
    table.begin()
    table.delete("b")
    table.changes(100)
    table.begin()
    table.changes(105)
    table.commit()
    table.commit()
    assert list(table.dump()) == [(b"ka", b"\x02" + (110).to_bytes(8, "big") + INT.encode(1))]
    table.begin()
    assert table.changes(110) == [(b"ka", None)]


def test_the_newest_record_of_a_key_says_when_it_ends() -> None:
    def ends_at(end_ms: int) -> bytes:
        return b"\x02" + end_ms.to_bytes(8, "big") + INT.encode(1)

    plain = b"\x01" + INT.encode(1)
    for values, ended in (
        ([plain, ends_at(7)], True),
        ([ends_at(7), plain], False),
        ([ends_at(7), ends_at(70)], False),
        ([ends_at(70), ends_at(7)], True),
        ([ends_at(7), None, ends_at(70)], False),
        ([plain, None], False),
    ):
        one_by_one = load_all(ending(), [(b"ka", value) for value in values])
        at_once = ending()
        at_once.load_many([b"ka"] * len(values), values)
        for table in (one_by_one, at_once):
            table.begin()
            assert table.changes(8) == ([(b"ka", None)] if ended else [])
            table.begin()
            assert len(table.changes(1_000)) == (values[-1] is not None and not ended)


def test_a_table_whose_time_to_live_was_taken_away_keeps_its_entries() -> None:
    before = ending()
    before.begin()
    before.put("a", 1)
    table = load_all(lasting(), before.changes(0))
    table.begin()
    table.changes(1_000_000)
    table.commit()
    assert list(table.items()) == [("a", 1)]
    assert list(table.dump()) == [(b"ka", b"\x01" + INT.encode(1))]


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"ka", b""), (b"ka", b"\x00ab"), (b"ka", b"\x03ab"), (b"ka", b"\x02short"), (b"xa", b"\x01")],
)
def test_what_this_release_does_not_know_is_refused(key: bytes, value: bytes) -> None:
    for table in (lasting(), ending()):
        with pytest.raises(StateCorruptError):
            table.load(key, value)


class Position(NamedTuple):
    at: int
    weight: float


def test_damage_inside_a_value_is_told_when_it_is_read() -> None:
    numbers = load_all(lasting(), [(b"ka", b"\x01short")])
    with pytest.raises(StateCorruptError, match="no whole number"):
        numbers.get("a")
    names = load_all(lasting(), [(b"k\xff", b"\x01" + INT.encode(1))])
    with pytest.raises(StateCorruptError, match="no text"):
        dict(names.items())
    documents = KeyedTable(b"k", Codec(TEXT, JSON), "docs", entries_max=9)
    with pytest.raises(StateCorruptError, match="JSON"):
        load_all(documents, [(b"ka", b"\x01{")]).get("a")
    rows = KeyedTable(b"k", Codec(TEXT, Packed(">qd", Position)), "rows", entries_max=9)
    with pytest.raises(StateCorruptError, match="2 bytes, not 16"):
        load_all(rows, [(b"ka", b"\x01{}")]).get("a")


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_sort_as_their_bytes_do(left: int, right: int) -> None:
    assert INT.decode(INT.encode(left)) == left
    assert (INT.encode(left) < INT.encode(right)) is (left < right)


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
def test_packed_rows_come_back(at: int, weight: float) -> None:
    packed = Packed(">qd", Position)
    row = packed.decode(packed.encode(Position(at, weight)))
    assert row == Position(at, weight)
    assert row.at == at


def test_writes_outside_a_batch_are_a_fault() -> None:
    table = lasting()
    for moment in (lambda: table.put("a", 1), lambda: table.delete("a"), lambda: table.changes(0)):
        with pytest.raises(AssertionError, match="begin"):
            moment()
    table.begin()
    with pytest.raises(AssertionError, match="told"):
        table.begin()
    table.changes(0)
    with pytest.raises(AssertionError, match="begin"):
        table.put("a", 1)
    with pytest.raises(AssertionError, match="between"):
        table.dump()
    with pytest.raises(AssertionError, match="before"):
        table.load(b"ka", None)
