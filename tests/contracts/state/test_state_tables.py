"""Every table of a lane's state, found by looking, through the life that the port describes.

What batches do with a table is said by its subject in `batuta.streams.lanes.table_testing`; a
table without one fails. Whatever layers batches form, a table answers as if its committed batches
had run one after the other; its changelog, compacted or not, and its dump make an equal table; what
it cannot read it refuses.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batuta.agents
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.state.listed import ListedTable
from batuta.agents.state.parts import PartTable
from batuta.agents.state.port import Tables
from batuta.agents.understanding.deduplication import Deduplication
from batuta.agents.understanding.windows import TrailingWindows
from batuta.schemas.errors import OursError, StateCorruptError
from batuta.streams.lanes.table_testing import BOUND, FILL, SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batuta.agents.state.port import Change, StateTable
    from batuta.streams.lanes.table_testing import Subject

OPEN_MAX = 4
METHODS = ("begin", "changes", "commit", "rollback", "load", "dump", "entries")
subjects = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


def tables_of_the_house() -> Iterator[type]:
    for module in pkgutil.walk_packages(batuta.agents.__path__, "batuta.agents."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            whole = all(callable(getattr(found, method, None)) for method in METHODS)
            composed = issubclass(found, Tables) or getattr(found, "_is_protocol", False)
            if whole and not composed and found.__module__ == module.name:
                yield found


def test_every_table_of_the_house_is_a_subject() -> None:
    # What some tables have in common says nothing of what is asked of it.
    found = set(tables_of_the_house()) - {PartTable, ListedTable}
    assert {TrailingWindows, Deduplication, KeyedTable} <= found
    assert found == {subject.kind for subject in SUBJECTS}


# Life


@dataclass(frozen=True)
class Kept:
    """A committed batch: what drove it, and what it answered."""

    seed: int
    now_ms: int
    answers: object


def run_batch(subject: Subject, table: StateTable, seed: int, now_ms: int) -> object:
    table.begin()
    return subject.act(table, Random(seed), now_ms)


def loaded(subject: Subject, records: Iterable[Change]) -> StateTable:
    table = subject.open()
    for key, value in records:
        table.load(key, value)
    table.begin()
    table.rollback()
    return table


def compacted(log: Iterable[Change]) -> dict[bytes, bytes]:
    kept: dict[bytes, bytes] = {}
    for key, value in log:
        kept.pop(key, None)
        if value is not None:
            kept[key] = value
    return kept


def replayed(subject: Subject, kept: list[Kept]) -> StateTable:
    """Run the committed batches one after the other."""
    table = subject.open()
    for batch in kept:
        assert run_batch(subject, table, batch.seed, batch.now_ms) == batch.answers
        table.changes(batch.now_ms)
        table.commit()
    return table


def assert_equal(subject: Subject, left: StateTable, right: StateTable, now_ms: int) -> None:
    """Assert that both hold, and go on, alike."""
    assert dict(left.dump()) == dict(right.dump())
    assert left.entries() == right.entries()
    assert subject.look(left) == subject.look(right)
    ends: list[object] = []
    for table in (left, right):
        answers = run_batch(subject, table, 7, now_ms + 3)
        ends.append((answers, compacted(table.changes(now_ms + 3))))
        table.rollback()
    assert ends[0] == ends[1]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("run", "run", "run", "commit", "commit", "rollback", "fail", "load")),
        st.integers(0, 10_000),
        st.sampled_from((0, 1, 5, 20, 50, 200)),
    ),
    max_size=30,
)


@subjects
@given(steps=STEPS)
@settings(max_examples=80, deadline=None)
def test_layers_in_any_order_end_as_the_committed_batches_alone_would(
    subject: Subject, steps: list[tuple[str, int, int]]
) -> None:
    table, now_ms = subject.open(), 1_000
    opened: list[tuple[Kept, list[Change]]] = []
    kept: list[Kept] = []
    log: list[Change] = []
    for step, seed, pause_ms in [*steps, *[("commit", 0, 0)] * OPEN_MAX]:
        now_ms += pause_ms
        if step == "run" and len(opened) < OPEN_MAX:
            answers = run_batch(subject, table, seed, now_ms)
            opened.append((Kept(seed, now_ms, answers), table.changes(now_ms)))
        elif step == "fail" and len(opened) < OPEN_MAX:
            run_batch(subject, table, seed, now_ms)
            table.rollback()
        elif step == "rollback" and opened:
            table.rollback()
            opened.pop()
        elif step == "commit" and opened:
            table.commit()
            batch, changes = opened.pop(0)
            kept.append(batch)
            log += changes
        elif step == "load" and not opened:
            table = loaded(subject, table.dump())
    whole = compacted(log)
    mixed = list(whole.items())
    Random(len(log)).shuffle(mixed)
    for twin in (
        replayed(subject, kept),
        loaded(subject, log),
        loaded(subject, whole.items()),
        loaded(subject, mixed),
        loaded(subject, list(table.dump())),
        loaded(subject, [*table.dump(), *log[-5:]]),
    ):
        assert_equal(subject, table, twin, now_ms)


@subjects
def test_a_dump_and_the_changes_after_it_make_the_state(subject: Subject) -> None:
    table = subject.open()
    records: list[Change] = []
    for turn in range(30):
        if turn == 12:
            records = list(table.dump())
        run_batch(subject, table, turn, 1_000 + turn * 9)
        records += table.changes(1_000 + turn * 9)
        table.commit()
    assert_equal(subject, table, loaded(subject, records), 1_300)


@subjects
@pytest.mark.parametrize("steps", ["nnCnfCRC", "nnCnffRRC", "nnCnfRCC", "nnCnfCCRC"])
def test_what_is_rolled_back_takes_nothing_along(subject: Subject, steps: str) -> None:
    """One key, a batch far ahead of the others: what it ended comes back with its rollback."""
    for seed in range(40):
        table, now_ms = subject.open(), 1_000
        kept: list[Kept] = []
        opened: list[Kept] = []
        for step in steps:
            now_ms += {"n": 5, "f": 70}.get(step, 0)
            if step in "nf":
                opened.append(Kept(seed, now_ms, run_batch(subject, table, seed, now_ms)))
                table.changes(now_ms)
            elif step == "R":
                table.rollback()
                now_ms = opened.pop().now_ms - 60
            elif opened:
                table.commit()
                kept.append(opened.pop(0))
        while opened:
            table.commit()
            kept.append(opened.pop(0))
        assert_equal(subject, table, replayed(subject, kept), now_ms)


# Bounds


@subjects
def test_a_table_does_not_grow_past_its_bound(subject: Subject) -> None:
    table, random = subject.open(), Random(1)
    held: list[int] = []
    for turn in range(9):
        table.begin()
        if subject.refuses and held and held[-1] + FILL > BOUND:
            with pytest.raises(OursError, match=str(BOUND)):
                subject.fill(table, random, 1_000 + turn)
            table.rollback()
        else:
            subject.fill(table, random, 1_000 + turn)
            table.changes(1_000 + turn)
            table.commit()
        held.append(table.entries())
    growing = [FILL, 2 * FILL, 3 * FILL, BOUND]
    assert held[:4] == ([1] * 4 if subject.refuses is None else growing)
    assert max(held) <= (BOUND if subject.refuses else BOUND + FILL)


# Bad records


def records_of(subject: Subject) -> list[tuple[bytes, bytes]]:
    table = subject.open()
    for turn in range(6):
        run_batch(subject, table, turn, 1_000 + turn)
        table.changes(1_000 + turn)
        table.commit()
    records = [(key, value) for key, value in table.dump() if value is not None]
    assert records
    return records


@subjects
@pytest.mark.parametrize("version", [b"", b"\x00", b"\x7f", b"\xff"])
def test_a_record_of_an_unknown_version_is_refused(subject: Subject, version: bytes) -> None:
    for key, value in records_of(subject):
        with pytest.raises(StateCorruptError, match=r"version|damaged|this release"):
            subject.open().load(key, version + value[1:] if version else b"")


@subjects
def test_a_record_of_another_table_is_refused(subject: Subject) -> None:
    key, value = records_of(subject)[0]
    for other in (b"", b"\x7f" + key[1:]):
        with pytest.raises(StateCorruptError):
            subject.open().load(other, value)


@subjects
def test_damaged_bytes_are_refused_by_name_or_not_told_from_others(subject: Subject) -> None:
    """Nothing but StateCorruptError comes of a damaged record, whatever the damage."""
    random, refused = Random(3), 0
    for key, value in records_of(subject)[:8]:
        cuts = [(key, value[:end]) for end in range(len(value))]
        longer = [(key, value + bytes(extra)) for extra in (1, 7, 8)]
        flips = [(key, flipped(value, random)) for _ in range(40)]
        keys = [(key[:end], value) for end in range(len(key))] + [(key + b"\xff", value)]
        for damaged in cuts + longer + flips + keys:
            try:
                subject.look(loaded(subject, [damaged]))
            except StateCorruptError:
                refused += 1
    assert refused > 20


def flipped(value: bytes, random: Random) -> bytes:
    at = random.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << random.randrange(8))]) + value[at + 1 :]
