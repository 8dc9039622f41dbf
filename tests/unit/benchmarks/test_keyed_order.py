"""A short share of what `benchmarks/keyed_order.py` does with a million events."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from keyed_order import run

from batuta.agents.questions import waiting_key
from batuta.agents.waiting import Waiting
from batuta.streams.lanes.memory import LaneMemory

if TYPE_CHECKING:
    import pytest

    from batuta.agents.policy.names import Flags
    from batuta.agents.questions import Question

#: A lane parks few, and events come much faster than models answer.
FEW: Final = 40


def test_events_of_a_key_are_decided_in_their_order_whatever_calls_take() -> None:
    found = run(5_000)
    assert (found.events, found.decisions) == (5_000, 5_000)
    assert (found.order_violations, found.keys_incomplete) == (0, 0)
    assert not found.troubles
    assert found.in_order


def test_one_that_does_not_wait_for_those_of_its_key_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mutant: what is answered is decided, though an event of its key is parked."""

    def hasty(self: Waiting, question: Question, answered: Flags) -> list[int]:
        heard = (question.asked & answered).tolist()
        for row, event in enumerate(question.events):
            if not heard[row]:
                blocked = self.lot.blocks(waiting_key(event))
                park = self._park  # pyright: ignore[reportPrivateUsage]
                park(question, row, "queued" if blocked else "model")
        return [row for row, is_heard in enumerate(heard) if is_heard]

    monkeypatch.setattr(Waiting, "admitted", hasty)
    found = run(5_000)
    assert found.order_violations > 0
    assert not found.in_order


def test_a_lane_reads_no_more_than_it_may_park_and_gives_nothing_up() -> None:
    found = run(1_000, steps_max=FEW)
    assert found.in_order
    assert found.said["of_them_late"] == 0


def test_a_lane_that_reads_whatever_is_parked_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant: there is always room, so what has waited longest makes way."""
    monkeypatch.setattr(LaneMemory, "room", sys.maxsize)
    found = run(1_000, steps_max=FEW)
    assert found.said["of_them_late"] > 0
    assert found.in_order, "what makes way keeps its place"
