"""Which days train, which days test, and which rows of the test count.

    train_start          train_end              test_start           test_end
        |--- train_days ---|----- delay_days -----|----- test_days -----|

Nothing that happens after training is known before it has been the delay's age, so the test begins
that much later. On each test day, entities that are known by then as positive no longer count: in a
real house they were stopped. Known are those positive within the training days, or on any day since
that is older than the delay. After Dal Pozzolo et al., Learned lessons in credit card fraud
detection from a practitioner perspective (2014).
"""

from dataclasses import dataclass

import numpy as np

from batuta.agents.evaluation.ranking import Booleans, Integers
from batuta.schemas.errors import UsageError

__all__ = ["Weeks"]


@dataclass(frozen=True, slots=True)
class Weeks:
    """The days of one training and its test, counted from the history's first day.

    >>> weeks = Weeks(train_start=115)
    >>> weeks.train_end, weeks.test_start, weeks.test_end
    (122, 129, 136)
    """

    train_start: int
    train_days: int = 7
    delay_days: int = 7
    test_days: int = 7

    @property
    def train_end(self) -> int:
        """The day after the last one of training."""
        return self.train_start + self.train_days

    @property
    def test_start(self) -> int:
        """The first day of the test."""
        return self.train_end + self.delay_days

    @property
    def test_end(self) -> int:
        """The day after the last one of the test."""
        return self.test_start + self.test_days

    def check_within(self, days: Integers) -> None:
        """Make sure that a history reaches to the end of the test.

        Args:
            days: each row's day, in order.

        Raises:
            UsageError: it does not.
        """
        end = int(days[-1]) + 1
        if self.test_end > end:
            raise UsageError(
                f"the test ends with day {self.test_end - 1}, the history with day {end - 1}: "
                f"begin training on day {end - (self.test_end - self.train_start)} or before"
            )

    def training_rows(self, days: Integers) -> Integers:
        """Return the rows of the training days.

        Args:
            days: each row's day.
        """
        return np.flatnonzero((days >= self.train_start) & (days < self.train_end))

    def test_rows(self, days: Integers, entities: Integers, positive: Booleans) -> Integers:
        """Return the rows of the test days that count, by day.

        Args:
            days: each row's day.
            entities: whose row it is.
            positive: what it turned out to be.
        """
        parts = [
            self._counted(days, entities, positive, day)
            for day in range(self.test_start, self.test_end)
        ]
        return np.concatenate(parts)

    def _counted(
        self, days: Integers, entities: Integers, positive: Booleans, day: int
    ) -> Integers:
        ripe = (days >= self.train_start) & (days < day - self.delay_days)
        trained = (days >= self.train_start) & (days < self.train_end)
        known = np.unique(entities[positive & (ripe | trained)])
        rows = np.flatnonzero(days == day)
        return rows[~np.isin(entities[rows], known)]
