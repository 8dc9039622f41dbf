"""The anomaly benchmark as a history: nothing to train, and a score to reach."""

from collections.abc import Mapping
from typing import cast

from batuta.agents.evaluation.ranking import Numbers
from batuta.agents.evaluation.report import Evaluation
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.history import Columns, Progress, Tables, WithoutOracle, never_told
from batuta.agents.maintenance.data import (
    SERIES_COLUMNS,
    SERIES_FILE,
    WINDOWS_FILE,
    Readings,
    readings_of,
)
from batuta.agents.maintenance.evaluation import measure_anomalies
from batuta.agents.models.card import TrainedModel
from batuta.schemas.errors import UsageError

__all__ = ["MaintenanceHistory"]


class MaintenanceHistory(WithoutOracle):
    """A HistoryMapping: the benchmark's series."""

    files: Mapping[str, tuple[str, ...]] = {SERIES_FILE: SERIES_COLUMNS, WINDOWS_FILE: ()}

    def history(self, tables: Tables) -> Readings:
        """Return the readings that were read.

        Raises:
            UsageError: the files are not what they should be.
        """
        return readings_of(cast("Columns", tables[SERIES_FILE]), tables[WINDOWS_FILE])

    def train(
        self, history: Readings, weeks: Weeks, seed: int, progress: Progress = never_told
    ) -> TrainedModel:
        """Refuse: the detector learns each series as it goes.

        Raises:
            UsageError: always.
        """
        del history, weeks, seed, progress
        raise UsageError(
            "maintenance has nothing to train: its detector learns each series as it goes"
        )

    def measure(self, history: Readings, weeks: Weeks, scores: Numbers) -> Evaluation:
        """Return the benchmark's score; all readings count, whatever their day.

        Raises:
            UsageError: a score is missing.
        """
        del weeks
        return measure_anomalies(history, scores)
