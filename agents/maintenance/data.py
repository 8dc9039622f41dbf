"""The Numenta Anomaly Benchmark's series as readings and labels.

The data set: Lavin and Ahmad, Evaluating Real-Time Anomaly Detection Algorithms (2015): 58 series
of one sensor each, most of them recorded, with windows around what people found anomalous. Rows
stand in the order of their arrival, which is not always that of their times: some repeat, one
series steps back by an hour. So a reading is known by its series and row, never by its time.

A window is given by two times. It begins and ends with the last row of that time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import orjson

from batuta.agents.evaluation.nab import Series
from batuta.agents.evaluation.ranking import Booleans, Integers, Numbers
from batuta.agents.samples import SampleEvent
from batuta.schemas.errors import UsageError

__all__ = [
    "SERIES_COLUMNS",
    "SERIES_FILE",
    "WINDOWS_FILE",
    "Readings",
    "readings_of",
]

#: The files of the data set, and what is read of the first.
SERIES_FILE: Final = "series.parquet"
WINDOWS_FILE: Final = "combined_windows.json"
SERIES_COLUMNS: Final = ("series", "row", "timestamp", "value")

_SENSOR: Final = "value"
_DAY_MS: Final = 86_400_000
#: An asset is looked at a week after the reading.
_LABEL_AFTER_MS: Final = 7 * _DAY_MS


@dataclass(frozen=True, slots=True)
class Readings:
    """All rows of all series as columns, series after series.

    Attributes:
        corpus: the series and their windows, in the order of the rows.
        times_ms: milliseconds since 1970, the data set's local times taken as UTC.
        values: what was measured.
        positive: which rows lie in a window.
    """

    corpus: tuple[Series, ...]
    times_ms: Integers
    values: Numbers
    positive: Booleans

    def __len__(self) -> int:
        return len(self.values)

    @property
    def days(self) -> Integers:
        """Days since the earliest reading's."""
        days = self.times_ms // _DAY_MS
        return days - int(days.min())

    @property
    def entities(self) -> Integers:
        """The series, by number."""
        return np.repeat(np.arange(len(self.corpus)), [series.rows for series in self.corpus])

    @property
    def losses(self) -> Numbers:
        """Nobody knows."""
        return np.zeros(len(self))

    @property
    def label_after_ms(self) -> int:
        """A week: until somebody has looked at the asset."""
        return _LABEL_AFTER_MS

    def series_keys(self) -> list[str]:
        """Return the name of each row's series."""
        return [series.name for series in self.corpus for _ in range(series.rows)]

    def by_series(self, scores: Numbers) -> dict[str, Numbers]:
        """Return scores, one per row, as those of each series."""
        ends = np.cumsum([series.rows for series in self.corpus])
        parts = np.split(scores, ends[:-1])
        return {series.name: part for series, part in zip(self.corpus, parts, strict=True)}

    def event_ids(self) -> Iterator[str]:
        """Yield the id of each reading."""
        for series in self.corpus:
            for row in range(series.rows):
                yield f"{series.name}#{row}"

    def events(self) -> Iterator[SampleEvent]:
        """Yield each row as an event with its label, series after series."""
        times = _rfc3339(self.times_ms)
        label_times = _rfc3339(self.times_ms + _LABEL_AFTER_MS)
        rows = zip(
            self.event_ids(),
            self.series_keys(),
            times,
            label_times,
            self.values.tolist(),
            self.positive.tolist(),
            strict=True,
        )
        for reading_id, asset, time, label_time, value, anomalous in rows:
            data = {
                "reading_id": reading_id,
                "event_time": time,
                "asset_id": asset,
                "sensor": _SENSOR,
                "value": value,
            }
            label = {"reading_id": reading_id, "label_time": label_time, "anomaly": anomalous}
            yield SampleEvent(
                reading_id, asset, orjson.dumps(data), orjson.dumps(label), bool(anomalous)
            )


def readings_of(columns: Mapping[str, npt.NDArray[np.generic]], windows: object) -> Readings:
    """Return the data set's readings.

    Args:
        columns: `SERIES_COLUMNS` of `SERIES_FILE`.
        windows: what `WINDOWS_FILE` holds: series name to pairs of times.

    Raises:
        UsageError: the files are not what they should be, or do not belong together.
    """
    names, numbers = columns["series"], columns["row"].astype(np.int64)
    order = np.lexsort((numbers, names))
    names = names[order]
    seconds = columns["timestamp"][order].astype("datetime64[s]").astype(np.int64)
    values = columns["value"][order].astype(np.float64)
    if not bool(np.isfinite(values).all()):
        raise UsageError(f"{SERIES_FILE} holds a value that is no finite number")
    begins = np.flatnonzero(np.append([True], names[1:] != names[:-1])).tolist()
    ends = [*begins[1:], len(names)]
    given = _windows(windows)
    corpus: list[Series] = []
    anomalous = np.zeros(len(names), np.bool_)
    for begin, end in zip(begins, ends, strict=True):
        name = str(names[begin])
        if name not in given:
            raise UsageError(f"{WINDOWS_FILE} says nothing of {name!r}, a series of {SERIES_FILE}")
        found = tuple(_rows_of(pair, seconds[begin:end], name) for pair in given[name])
        for first, last in found:
            anomalous[begin + first : begin + last + 1] = True
        corpus.append(Series(name, end - begin, found))
    return Readings(tuple(corpus), seconds * 1_000, values, anomalous)


def _windows(windows: object) -> Mapping[str, Sequence[Sequence[str]]]:
    fits = isinstance(windows, dict) and all(
        isinstance(pairs, list) for pairs in cast("dict[str, object]", windows).values()
    )
    if not fits:
        raise UsageError(f"{WINDOWS_FILE} does not map series to pairs of times")
    return cast("Mapping[str, Sequence[Sequence[str]]]", windows)


def _rows_of(pair: Sequence[str], seconds: Integers, name: str) -> tuple[int, int]:
    first, last = (_row_at(time, seconds, name) for time in pair)
    return first, last


def _row_at(time: str, seconds: Integers, name: str) -> int:
    try:
        wanted = np.datetime64(time, "s").astype(np.int64)
    except ValueError as error:
        raise UsageError(f"{WINDOWS_FILE}: {time!r} of {name} is no time") from error
    rows = np.flatnonzero(seconds == wanted)
    if not len(rows):
        raise UsageError(f"{WINDOWS_FILE}: {name} has no row at {time}")
    return int(rows[-1])


def _rfc3339(times_ms: Integers) -> list[str]:
    texts = np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="s", timezone="UTC")
    return cast("list[str]", texts.tolist())
