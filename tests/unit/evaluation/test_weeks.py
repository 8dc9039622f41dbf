"""Which rows of a test count, and what a watch list of entities is worth."""

from __future__ import annotations

import numpy as np

from batuta.agents.evaluation.entity_precision import (
    WatchedRows,
    best_entity_precision,
    daily_entity_precision,
    entity_precision,
)
from batuta.agents.evaluation.weeks import Weeks

WEEKS = Weeks(train_start=10, train_days=2, delay_days=3, test_days=2)


def test_the_days_follow_each_other() -> None:
    assert (WEEKS.train_end, WEEKS.test_start, WEEKS.test_end) == (12, 15, 17)
    days = np.arange(20)
    assert WEEKS.training_rows(days).tolist() == [10, 11]


def test_known_entities_count_no_more_from_the_day_on_which_they_are_known() -> None:
    # day, entity, positive
    rows = [
        (9, 1, True),  # before training: nobody looked
        (11, 2, True),  # in training: known
        (12, 3, True),  # known once it is older than three days: from day 16 on
        (13, 4, True),  # known from day 17 on, after the test
        *((15, entity, False) for entity in range(1, 6)),
        *((16, entity, False) for entity in range(1, 6)),
    ]
    days, entities, positive = (np.array(column) for column in zip(*rows, strict=True))
    counted = WEEKS.test_rows(days, entities, positive)
    assert entities[counted].tolist() == [1, 3, 4, 5, 1, 4, 5]
    assert days[counted].tolist() == [15] * 4 + [16] * 3


def watched() -> WatchedRows:
    # day, entity, positive, score
    rows = [
        (1, 1, True, 0.2),
        (1, 1, False, 0.9),  # an entity is ranked by its highest row, caught by any
        (1, 2, False, 0.8),
        (1, 3, True, 0.7),
        (2, 1, True, 0.9),  # caught on day one: drops out
        (2, 2, False, 0.8),
        (2, 3, True, 0.7),
        (2, 4, True, 0.6),
        (2, 5, False, 0.7),  # ties with 3, whose number is smaller
    ]
    days, entities, positive, scores = (np.array(column) for column in zip(*rows, strict=True))
    return WatchedRows(days, entities, positive, scores)


def test_an_entity_is_caught_once() -> None:
    assert daily_entity_precision(watched(), size=2) == [0.5, 0.5]
    assert daily_entity_precision(watched(), size=1) == [1.0, 0.0]
    assert daily_entity_precision(watched(), size=3) == [2 / 3, 1 / 3]
    assert entity_precision(watched(), size=3) == 0.5


def test_the_ceiling_is_what_all_knowledge_would_reach() -> None:
    assert best_entity_precision(watched(), size=2) == (1.0 + 0.5) / 2
