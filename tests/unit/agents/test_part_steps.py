"""Parts of the user's own: what breaks harms its own events, and what remembers is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.policy.event_rows import EventRows
from batuta.agents.understanding.isolation import Direct
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.part_steps import KeyedStep, PartStep
from batuta.agents.understanding.steps import Surroundings
from batuta.schemas.errors import LaterError, StateCorruptError
from batuta.schemas.ingested import Ingested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.agents.understanding.features import Features, Memory
    from batuta.agents.understanding.steps import Step


class Hearing(Direct):
    """Calls parts as they are, and notes what they break at."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def report(self, part: str, failure: Exception) -> None:
        self.heard.append((part, str(failure)))


def event(value: object, key: str = "k", sensor: str = "s") -> Ingested:
    return Ingested("e", key, key, 0, 0, "default", {"value": value, "sensor": sensor}, {})


def taken(step: Step, events: Sequence[Ingested], around: Surroundings) -> list[float]:
    rows = EventRows(events, {}, "at")
    failed = step.take(rows, around)
    values: list[float] = np.asarray(rows.column(step.names[0]).values, np.float64).tolist()
    gone = np.zeros(len(events), np.bool_) if failed is None else failed
    assert gone.tolist() == np.isnan(values).tolist()
    return values


class Doubled:
    names: tuple[str, ...] = ("doubled",)

    def compute(self, events: Sequence[Ingested]) -> Features:
        return np.array([[2.0 * float(str(one.data["value"]))] for one in events]).reshape(-1, 1)


class Running:
    """The sum of a series; a negative value breaks it, also what it has begun to remember."""

    names: tuple[str, ...] = ("total",)
    width: int = 2
    per: tuple[str, ...] = ("sensor",)

    def observe(self, memory: Memory, events: Sequence[Ingested]) -> Features:
        told: list[float] = []
        for one in events:
            memory[0] += float(str(one.data["value"]))
            if float(str(one.data["value"])) < 0.0:
                raise ValueError("a negative value")
            told.append(float(memory[0]))
        return np.array(told)[:, None]


def test_an_event_that_a_feature_breaks_at_is_alone_in_it() -> None:
    hearing = Hearing()
    events = [event(n) for n in range(1_000)]
    events[500] = event("nonsense")
    values = taken(PartStep(Doubled(), "twice"), events, Surroundings(hearing))
    assert np.flatnonzero(np.isnan(values)).tolist() == [500]
    assert values[499:502:2] == [998.0, 1002.0]
    ((part, said),) = hearing.heard
    assert part == "twice"
    assert "nonsense" in said


def test_trouble_of_the_world_or_of_ours_is_not_a_parts() -> None:
    class Unreachable(Doubled):
        def compute(self, events: Sequence[Ingested]) -> Features:
            raise LaterError(str(len(events)))

    with pytest.raises(LaterError):
        taken(PartStep(Unreachable()), [event(1)], Surroundings())


def memories(*batches: Sequence[Ingested]) -> tuple[MemoryTable, list[list[float]], Hearing]:
    table, told, hearing = MemoryTable(b"m"), list[list[float]](), Hearing()
    for batch in batches:
        table.begin()
        told.append(taken(KeyedStep(Running(), "sum"), batch, Surroundings(hearing, table)))
        table.changes(now_ms=0)
        table.commit()
    return table, told, hearing


def test_each_series_is_remembered_by_itself_however_batches_are_cut() -> None:
    events = [event(n, key=f"k{n % 3}", sensor=f"s{n % 2}") for n in range(60)]
    table, ((*whole,),), _ = memories(events)
    others, parts, _ = memories(events[:7], events[7:8], [], events[8:])
    assert [value for part in parts for value in part] == whole
    assert dict(others.dump()) == dict(table.dump())
    assert table.entries() == 6
    assert whole[54:60] == [sum(range(n % 6, n + 1, 6)) for n in range(54, 60)]


def test_what_breaks_leaves_the_memory_as_it_was_and_its_neighbours_alone() -> None:
    events = [event(1), event(-5), event(2), event(10, key="other")]
    _, (first, second), hearing = memories(events, [event(3)])
    assert np.nan_to_num(first, nan=-1.0).tolist() == [1.0, -1.0, 3.0, 10.0]
    assert second == [6.0]
    assert hearing.heard == [("sum", "a negative value")]


def test_a_part_that_does_not_come_back_is_not_remembered() -> None:
    class Hanging(Hearing):
        def run(self, part: str, work: object) -> object:
            del work
            raise TimeoutError(part)

    table, hanging = MemoryTable(b"m"), Hanging()
    table.begin()
    around = Surroundings(hanging, table)  # type: ignore[arg-type]
    assert np.isnan(taken(KeyedStep(Running(), "sum"), [event(1), event(2)], around)).all()
    assert hanging.heard == [("sum", "sum")]
    assert table.changes(now_ms=0) == []


def test_a_memory_that_is_no_finite_number_is_not_kept() -> None:
    class Overflowing(Running):
        def observe(self, memory: Memory, events: Sequence[Ingested]) -> Features:
            memory[1] = np.inf
            return np.zeros((len(events), 1))

    table, hearing = MemoryTable(b"m"), Hearing()
    table.begin()
    around = Surroundings(hearing, table)
    assert np.isnan(taken(KeyedStep(Overflowing(), "sum"), [event(1)], around)).all()
    assert "no finite number" in hearing.heard[0][1]


def test_a_memory_of_another_width_begins_anew() -> None:
    table = MemoryTable(b"m")
    table.begin()
    table.keep("sum", "k", np.ones(3))
    assert table.recall("sum", "k", width=3).tolist() == [1.0, 1.0, 1.0]
    assert table.recall("sum", "k", width=2).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("instead", [b"", b"\x02", b"\x01", b"\x01\x00\x09" + bytes(60)])
def test_a_memory_of_unknown_layout_or_size_is_refused(instead: bytes) -> None:
    table = MemoryTable(b"m")
    table.begin()
    table.keep("sum", "k", np.ones(9))
    ((key, value),) = table.changes(now_ms=0)
    assert value is not None
    other = MemoryTable(b"m")
    other.load(key, value[:9] + instead)
    with pytest.raises(StateCorruptError):
        other.recall("sum", "k", width=9)
