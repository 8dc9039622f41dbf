"""A short share of what `benchmarks/keyed_order.py` does with a million events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyed_order import run

from batuta.agents.questions import waiting_key
from batuta.agents.waiting import Waiting

if TYPE_CHECKING:
    import pytest

    from batuta.agents.policy.names import Flags
    from batuta.agents.questions import Question


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
