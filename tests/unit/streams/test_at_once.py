"""Models asked at once: together, until enough have answered or the time for them is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.delegation.heard import Heard, Indexes
from batuta.agents.delegation.plans import Ask, Fallback, Node, Parallel, Sequence
from batuta.agents.delegation.work import Work
from batuta.schemas.errors import LaterError, ModelFailedError
from batuta.streams.at_once import AtOnce
from batuta.streams.rehearsal.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batuta.agents.models.port import Matrix, Scores

A, B, C = Ask("a"), Ask("b"), Ask("c")


class Slow:
    """Answers, or fails, after a while of virtual time."""

    inputs: tuple[str, ...] = ("x",)

    def __init__(self, name: str, takes_ms: int, failure: Exception | None = None) -> None:
        self.name, self.version = name, f"{name}@0"
        self.takes_ms, self.failure = takes_ms, failure
        self.ended = ""

    async def answer(self, inputs: Matrix) -> Scores:
        try:
            await asyncio.sleep(self.takes_ms / 1000)
        except asyncio.CancelledError:
            self.ended = "let go of"
            raise
        self.ended = "answered"
        if self.failure is not None:
            raise self.failure
        return np.full(len(inputs), self.takes_ms / 1000)


class Ask3:
    """A plan over three models that take 50, 100 and 150 ms, driven to its end."""

    def __init__(self, loop: VirtualLoop, node: Node, failure: Exception | None = None) -> None:
        self.models = {
            "a": Slow("a", 50, failure),
            "b": Slow("b", 100),
            "c": Slow("c", 150),
        }
        versions = {name: model.version for name, model in self.models.items()}
        self.work = Work(Heard(2, versions), [(node, np.ones(2, np.bool_))], inputs)
        try:
            loop.run_until_complete(AtOnce(self.models).drive(self.work))
        finally:
            loop.run_until_complete(asyncio.sleep(0))
            self.took_ms = round(loop.time() * 1000)
            self.ends = {name: model.ended for name, model in self.models.items()}

    @property
    def scores(self) -> list[float]:
        return [round(float(score), 6) for score in self.work.reached.scores]


def inputs(model: str, rows: Indexes, heard: Heard) -> Matrix:
    del model, heard
    return np.zeros((len(rows), 1), np.float32)


def parallel(quorum: int = 3, *, first: bool = False, within_ms: int | None = None) -> Parallel:
    return Parallel((A, B, C), "mean", (1.0,) * 3, quorum, first=first, within_ms=within_ms)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop(calls_max=10_000)
    yield loop
    loop.close()


def test_a_parallel_takes_as_long_as_its_slowest(loop: VirtualLoop) -> None:
    asked = Ask3(loop, parallel())
    assert (asked.took_ms, asked.scores) == (150, [0.1, 0.1])
    told = asked.work.heard.told
    assert {name: told[name].duration_ms.tolist() for name in "abc"} == {
        "a": [50, 50],
        "b": [100, 100],
        "c": [150, 150],
    }


def test_a_sequence_takes_its_time_step_by_step(loop: VirtualLoop) -> None:
    assert Ask3(loop, Sequence((A, B))).took_ms == 150


def test_the_first_quorum_lets_go_of_the_others(loop: VirtualLoop) -> None:
    asked = Ask3(loop, parallel(2, first=True))
    assert (asked.took_ms, asked.scores) == (100, [0.075, 0.075])
    assert asked.ends == {"a": "answered", "b": "answered", "c": "let go of"}


def test_what_is_there_within_its_time_counts(loop: VirtualLoop) -> None:
    asked = Ask3(loop, parallel(1, within_ms=120))
    assert (asked.took_ms, asked.scores) == (120, [0.075, 0.075])
    assert asked.ends["c"] == "let go of"
    assert asked.work.reached.marked.all(), "an answer without all it asked for is marked"


def test_a_failure_is_noted_with_its_time_and_the_fallback_asked(loop: VirtualLoop) -> None:
    asked = Ask3(loop, Fallback((A, B)), ModelFailedError("overloaded", "full"))
    assert (asked.took_ms, asked.scores) == (150, [0.1, 0.1])
    assert asked.work.heard.told["a"].duration_ms.tolist() == [50, 50]
    assert asked.work.heard.told["a"].failures == {0: "overloaded", 1: "overloaded"}


def test_trouble_of_the_outside_world_ends_all_calls_at_once(loop: VirtualLoop) -> None:
    with pytest.raises(LaterError, match="nobody there"):
        Ask3(loop, parallel(), LaterError("nobody there"))
    assert round(loop.time() * 1000) == 50


class Inline(Slow):
    """Answers without waiting for anything, as a model of this process does."""

    async def answer(self, inputs: Matrix) -> Scores:
        if self.failure is not None:
            raise self.failure
        return np.full(len(inputs), 0.5)


@pytest.mark.parametrize("failure", [None, ModelFailedError("broke", "a")])
def test_one_model_that_needs_not_wait_has_no_turn_of_the_loop_to_wait_for(
    loop: VirtualLoop, failure: ModelFailedError | None
) -> None:
    """Between two turns a busy worker's other lanes decode whole batches: 50 ms were seen."""
    models = {"a": Inline("a", 0, failure), "b": Inline("b", 0)}
    versions = {name: model.version for name, model in models.items()}
    work = Work(Heard(2, versions), [(Fallback((A, B)), np.ones(2, np.bool_))], inputs)

    async def in_one_turn() -> None:
        driving = AtOnce(models).drive(work)
        with pytest.raises(StopIteration):
            driving.send(None)

    loop.run_until_complete(in_one_turn())
    assert work.done
    assert work.reached.marked.tolist() == [failure is not None] * 2
