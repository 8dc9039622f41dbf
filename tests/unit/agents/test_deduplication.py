"""Duplicates are told from new events exactly within the horizon, through rollback and restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.agents.understanding.deduplication import DELTA_BYTES_MAX, Deduplication
from batuta.schemas.errors import StateCorruptError

if TYPE_CHECKING:
    from random import Random

    from batuta.agents.state.port import Change

WITHIN_MS = 100
ENTRIES_MAX = 12
Seen = tuple[str, bytes]


def opened() -> Deduplication:
    return Deduplication(b"d", WITHIN_MS, ENTRIES_MAX)


def payload(number: int) -> bytes:
    return number.to_bytes(8, "big")


@dataclass
class Naive:
    """Batches of what was new, the oldest first."""

    batches: list[tuple[int, dict[str, bytes]]] = field(
        default_factory=list[tuple[int, dict[str, bytes]]]
    )

    def drop(self, now_ms: int) -> None:
        while self.batches and (
            self.batches[0][0] + WITHIN_MS <= now_ms or self.held > ENTRIES_MAX
        ):
            self.batches.pop(0)

    @property
    def held(self) -> int:
        return sum(len(batch) for _, batch in self.batches)

    def classify(self, seen: list[Seen], now_ms: int) -> list[str]:
        self.drop(now_ms)
        fresh: dict[str, bytes] = {}
        verdicts: list[str] = []
        for name, digest in seen:
            known = [batch[name] for _, batch in self.batches if name in batch]
            known += [fresh[name]] if name in fresh else []
            if not known:
                fresh[name] = digest
            verdicts.append(
                "new" if not known else "duplicate" if known == [digest] else "conflict"
            )
        if fresh:
            # While its batch is open, only older batches can be dropped for it.
            while self.batches and self.held + len(fresh) > ENTRIES_MAX:
                self.batches.pop(0)
            self.batches.append((now_ms, fresh))
        return verdicts


def run(table: Deduplication, seen: list[Seen], now_ms: int) -> tuple[list[str], list[Change]]:
    table.begin()
    verdicts = table.classify([s[0] for s in seen], [s[1] for s in seen], now_ms)
    changes = table.changes(now_ms)
    return [*verdicts], changes


def restored(log: dict[bytes, bytes], order: Random) -> Deduplication:
    table = opened()
    records = list(log.items())
    order.shuffle(records)
    for key, value in records:
        table.load(key, value)
    return table


BATCHES = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from("abcdefghijklmnop"), st.sampled_from([1, 1, 2])),
            max_size=10,
        ),
        st.sampled_from([0, 1, 10, 50, 99, 100, 150]),
        st.sampled_from(["commit", "commit", "rollback", "restore"]),
    ),
    max_size=20,
)


@given(BATCHES, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_verdicts_equal_a_naive_memory_through_rollbacks_and_restores(
    batches: list[tuple[list[tuple[str, int]], int, str]], order: Random
) -> None:
    table, naive, log, now_ms = opened(), Naive(), dict[bytes, bytes](), 0
    for rows, pause_ms, fate in batches:
        now_ms += pause_ms
        seen = [(name, payload(number)) for name, number in rows]
        if fate == "restore":
            table = restored(log, order)
        if fate == "rollback":
            undone = run(table, seen, now_ms)
            table.rollback()
            assert run(table, seen, now_ms) == undone
            table.rollback()
        verdicts, changes = run(table, seen, now_ms)
        table.commit()
        assert verdicts == naive.classify(seen, now_ms)
        naive.drop(now_ms)
        for key, value in changes:
            if value is None:
                del log[key]
            else:
                log[key] = value
        assert table.entries() == naive.held == restored(log, order).entries()


def test_one_batch_is_one_delta_and_its_end_one_tombstone() -> None:
    table = Deduplication(b"d", WITHIN_MS, 10_000)
    _, first = run(table, [(f"id-{n}", payload(n)) for n in range(2_000)], 0)
    table.commit()
    assert len(first) == 1
    _, second = run(table, [("late", payload(0))], WITHIN_MS)
    assert second[0] == (first[0][0], None)
    assert len(second) == 2


def test_long_ids_are_spread_over_records_that_fit() -> None:
    table = Deduplication(b"d", WITHIN_MS, 10_000)
    ids = [f"{n:04d}" + "ü" * 4_000 for n in range(300)]
    _, changes = run(table, [(name, payload(1)) for name in ids], 0)
    table.commit()
    assert len(changes) > 1
    assert all(len(value or b"") <= DELTA_BYTES_MAX for _, value in changes)
    again = Deduplication(b"d", WITHIN_MS, 10_000)
    for key, value in changes:
        again.load(key, value)
    assert run(again, [(name, payload(1)) for name in ids], 1)[0] == ["duplicate"] * 300


def test_ids_are_compared_whole() -> None:
    table = opened()
    verdicts, _ = run(table, [("a\x00b", payload(1)), ("a", payload(1)), ("b", payload(1))], 0)
    assert verdicts == ["new", "new", "new"]


def delta() -> tuple[bytes, bytes]:
    key, value = run(opened(), [("a", payload(1)), ("b", payload(2))], 5)[1][0]
    assert value is not None
    return key, value


@pytest.mark.parametrize(
    ("begin", "end", "instead"),
    [
        (0, 1, b"\x09"),
        (0, 100, b""),
        (8, 100, b""),
        (36, 37, b""),
        (12, 13, b"\x01"),
    ],
)
def test_a_record_of_unknown_version_or_shape_is_refused(
    begin: int, end: int, instead: bytes
) -> None:
    key, value = delta()
    assert len(value) == 38
    with pytest.raises(StateCorruptError):
        opened().load(key, value[:begin] + instead + value[end:])


@pytest.mark.parametrize("key", [b"x" + bytes(8), b"d" + bytes(7), b"d" + bytes(9)])
def test_a_key_that_names_no_delta_is_refused(key: bytes) -> None:
    with pytest.raises(StateCorruptError):
        opened().load(key, delta()[1])
