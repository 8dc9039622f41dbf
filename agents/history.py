"""Labelled history: what a pipeline's files mean, so that it can be trained on and evaluated with.

A mapping says which files it needs; `batuta.streams` reads them; the mapping turns their rows into
events and labels, and trains on a part of them. Mappings are pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

from batuta.agents.delegation.plans import Node
from batuta.agents.evaluation.ranking import Booleans, Integers, Numbers
from batuta.agents.evaluation.report import Evaluation, Oracle
from batuta.agents.evaluation.weeks import Weeks
from batuta.agents.models.card import TrainedModel
from batuta.agents.samples import SampleEvent
from batuta.schemas.errors import UsageError

__all__ = [
    "Columns",
    "History",
    "HistoryMapping",
    "LabelMapping",
    "Progress",
    "Tables",
    "WithoutOracle",
    "measures_labels",
    "never_told",
]

#: Columns of a file by name, one element per row.
Columns = Mapping[str, npt.NDArray[np.generic]]
#: What was read: columns of a Parquet or CSV file, or the content of a JSON file, by its name.
Tables = Mapping[str, Columns | object]
#: Told how many rows are done, of how many.
Progress = Callable[[int, int], None]


def never_told(done: int, total: int) -> None:
    """Take no notice of progress."""
    del done, total


class History(Protocol):
    """Events and what they turned out to be, in the order of their arrival.

    Attributes:
        times_ms: event times, milliseconds since 1970 UTC.
        days: each event's day, counted from the history's first one.
        entities: whose event it is, as a number.
        positive: whether it is what the pipeline looks for.
        losses: what is lost where a positive one is not found; zeros where that is not known.
        label_after_ms: how long after its event a label is known.
    """

    @property
    def times_ms(self) -> Integers:
        """Event times."""
        ...

    @property
    def days(self) -> Integers:
        """Each event's day."""
        ...

    @property
    def entities(self) -> Integers:
        """Whose event it is."""
        ...

    @property
    def positive(self) -> Booleans:
        """What it turned out to be."""
        ...

    @property
    def losses(self) -> Numbers:
        """What is lost where it is not found."""
        ...

    @property
    def label_after_ms(self) -> int:
        """How late labels are."""
        ...

    def __len__(self) -> int:
        """Return how many events there are."""
        ...

    def event_ids(self) -> Iterator[str]:
        """Yield the id of each event."""
        ...

    def events(self) -> Iterator[SampleEvent]:
        """Yield each event with its label."""
        ...


HistoryT = TypeVar("HistoryT")


class HistoryMapping(Protocol[HistoryT]):
    """How the files of one data set become the history of one pipeline.

    Attributes:
        files: which files are read: Parquet and gzipped CSV files to their columns, JSON files to
            no columns; a file may lie in a folder beside.
        oracle_files: the names, as a pattern, of files with published features; "" for none.
        oracle_columns: what is read of them.
    """

    @property
    def files(self) -> Mapping[str, tuple[str, ...]]:
        """Which files are read."""
        ...

    @property
    def oracle_files(self) -> str:
        """Files with published features."""
        ...

    @property
    def oracle_columns(self) -> tuple[str, ...]:
        """What is read of them."""
        ...

    def history(self, tables: Tables) -> HistoryT:
        """Return the history that was read.

        Raises:
            UsageError: the files are not what they should be.
        """
        ...

    def oracle(self, columns: Columns, history: HistoryT) -> Oracle:
        """Return the published features of a part of `history`.

        Raises:
            UsageError: they are of another history.
        """
        ...

    def train(
        self, history: HistoryT, weeks: Weeks, seed: int, progress: Progress = never_told
    ) -> TrainedModel:
        """Return a model fitted to the training days of `history`; the same arguments, the same.

        Raises:
            UsageError: there is nothing to learn in those days, or at all.
        """
        ...

    def measure(self, history: HistoryT, weeks: Weeks, scores: Numbers) -> Evaluation:
        """Return how well scores, one per event and NaN where there is none, tell positives.

        Raises:
            UsageError: the history does not reach the test days, or scores are missing there.
        """
        ...


class WithoutOracle:
    """The part of a HistoryMapping whose data set publishes no features."""

    oracle_files: str = ""
    oracle_columns: tuple[str, ...] = ()

    def oracle(self, columns: Columns, history: object) -> Oracle:
        """Refuse: there is nothing to compare with.

        Raises:
            UsageError: always.
        """
        del columns, history
        raise UsageError("the data set publishes no features")


class LabelMapping(HistoryMapping[HistoryT], Protocol[HistoryT]):
    """A history whose events are told apart by more than one score: each has a label."""

    def measure_labels(
        self, history: HistoryT, labels: Sequence[str], plans: Sequence[Node]
    ) -> Evaluation:
        """Return how well labels are found, and what else a history measures of its pipeline.

        Args:
            history: the events.
            labels: one per event, empty where there is none.
            plans: of the pipeline that is measured, with their checkpoints.

        Raises:
            UsageError: the history has nothing to measure by.
        """
        ...


def measures_labels(
    mapping: HistoryMapping[HistoryT],
) -> TypeGuard[LabelMapping[HistoryT]]:
    """Tell whether a history is measured by labels, else by scores."""
    return hasattr(mapping, "measure_labels")
