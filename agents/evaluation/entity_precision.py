"""Precision of a daily watch list: of the entities with the highest scores, how many are positive.

Each day the entities not yet caught are ranked by their highest score of that day; of the first
`size` of them, those with a positive row that day are caught, and drop out of the days that follow.
With payment cards and 100 of them this is the card precision top-100 of Le Borgne et al.,
Reproducible Machine Learning for Credit Card Fraud Detection (2022), chapter 4.

Entities of equal score stand in the order of their numbers, so that a figure can be repeated.
"""

from dataclasses import dataclass

import numpy as np

from batuta.agents.evaluation.ranking import Booleans, Integers, Numbers

__all__ = ["WatchedRows", "best_entity_precision", "daily_entity_precision", "entity_precision"]


@dataclass(frozen=True, slots=True)
class WatchedRows:
    """The rows of some days as columns, one element per row."""

    days: Integers
    entities: Integers
    positive: Booleans
    scores: Numbers

    def of_day(self, day: int) -> "WatchedRows":
        """Return the rows of one day."""
        rows = self.days == day
        return WatchedRows(
            self.days[rows], self.entities[rows], self.positive[rows], self.scores[rows]
        )


def entity_precision(rows: WatchedRows, size: int = 100) -> float:
    """Return the mean over the days of the share of the watch list that is positive."""
    return float(np.mean(daily_entity_precision(rows, size)))


def best_entity_precision(rows: WatchedRows, size: int = 100) -> float:
    """Return what a model that knows every label would reach: the ceiling on these rows."""
    known = WatchedRows(rows.days, rows.entities, rows.positive, rows.positive.astype(np.float64))
    return entity_precision(known, size)


def daily_entity_precision(rows: WatchedRows, size: int = 100) -> list[float]:
    """Return the share of each day's watch list that is positive, in the order of the days."""
    caught = np.empty(0, np.int64)
    shares: list[float] = []
    for day in np.unique(rows.days).tolist():
        found = _caught(rows.of_day(day), caught, size)
        shares.append(len(found) / size)
        caught = np.concatenate((caught, found))
    return shares


def _caught(rows: WatchedRows, before: Integers, size: int) -> Integers:
    watched = ~np.isin(rows.entities, before)
    entities, group = np.unique(rows.entities[watched], return_inverse=True)
    highest = np.full(len(entities), -np.inf)
    np.maximum.at(highest, group, rows.scores[watched])
    positive = np.zeros(len(entities), np.bool_)
    np.logical_or.at(positive, group, rows.positive[watched])
    listed = np.argsort(-highest, kind="stable")[:size]
    return entities[listed][positive[listed]]
