"""The layout: state that was written for windows in another order is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.agents.conductor_state import ConductorState
from batuta.agents.understanding.layout import Layout
from batuta.agents.understanding.share_sets import ShareSet
from batuta.agents.understanding.window_sets import WindowSet
from batuta.schemas.errors import StateCorruptError
from batuta.schemas.pipeline import WindowFeature
from batuta.schemas.pipeline_rules import ShareFeature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.agents.state.port import Change

CARD = WindowFeature(name="card", by="card_id")
TERMINAL = WindowFeature(name="terminal", by="card_id")
SHOP = WindowFeature(name="shop", by="card_id")
RISK = ShareFeature(name="risk", by="card_id", of="fraud", windows_ms=(86_400_000,))


def state(windows: Sequence[WindowFeature], shares: Sequence[ShareFeature] = ()) -> ConductorState:
    return ConductorState(WindowSet(windows), ShareSet(shares))


def told(by: ConductorState) -> list[Change]:
    by.begin()
    changes = by.changes(now_ms=0)
    by.commit()
    return changes


def load(changes: list[Change], into: ConductorState) -> None:
    into.load_many([key for key, _ in changes], [value for _, value in changes])


def test_the_first_batch_tells_the_layout_and_those_after_it_nothing() -> None:
    written = state([CARD, TERMINAL])
    assert [key for key, _ in told(written)] == [b"=A", b"=w"]
    assert told(written) == []


def test_a_batch_that_is_rolled_back_has_told_nothing() -> None:
    layout = Layout({b"w": "card by card_id"})
    layout.begin()
    first = layout.changes(now_ms=0)
    layout.rollback()
    layout.begin()
    assert layout.changes(now_ms=0) == first


def test_windows_that_changed_places_are_refused_by_name() -> None:
    changes = told(state([CARD, TERMINAL]))
    with pytest.raises(StateCorruptError, match=r"'terminal by card_id'.*'card by card_id'"):
        load(changes, state([TERMINAL, CARD]))


def test_a_window_of_another_field_is_refused_by_name() -> None:
    changes = told(state([CARD.model_copy(update={"mean_of": "amount"})]))
    with pytest.raises(StateCorruptError, match=r"mean of amount.*mean of fee"):
        load(changes, state([CARD.model_copy(update={"mean_of": "fee"})]))


def test_shares_that_changed_places_are_refused_by_name() -> None:
    other = RISK.model_copy(update={"name": "loss"})
    changes = told(state([], [RISK, other]))
    with pytest.raises(StateCorruptError, match=r"share loss by card_id.*share risk"):
        load(changes, state([], [other, RISK]))


def test_what_is_declared_no_more_is_refused_by_name() -> None:
    changes = told(state([CARD, TERMINAL]))
    with pytest.raises(StateCorruptError, match=r"'terminal by card_id'.*no more"):
        load(changes, state([CARD]))


def test_a_window_behind_the_others_and_wider_ones_are_taken_in() -> None:
    changes = told(state([CARD, TERMINAL]))
    wider = CARD.model_copy(update={"windows_ms": (1, 2, 3)})
    successor = state([wider, TERMINAL, SHOP])
    load(changes, successor)
    assert [key for key, _ in told(successor)] == [b"=B"]


def test_state_from_before_the_layout_gets_one() -> None:
    successor = state([CARD])
    load([], successor)
    assert [key for key, _ in told(successor)] == [b"=w"]
