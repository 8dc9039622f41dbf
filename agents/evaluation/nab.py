"""The score of the Numenta Anomaly Benchmark: anomalies found early, and few false alarms.

Source: Lavin and Ahmad, Evaluating Real-Time Anomaly Detection Algorithms (2015), version 1.1 of
the benchmark. Each series has windows within which an anomaly is to be found. With one threshold
for the whole corpus a row whose score reaches it is an alarm:

    in a window     worth S(y) / S(-1) for the window's best row, y = -(right - row + 1) / length;
                    its further alarms are worth nothing, a window without one costs `missed`
    after a window  costs S(y), y = (row - right) / (length - 1), up to the next window
    before all      costs 1

where S(y) = 2 / (1 + e^5y) - 1, and -1 beyond y = 3. The first rows of a series are probation and
never scored: 15 % of them, at most 750. The threshold is the best one there is, and the score is 0
for a detector that never alarms, 100 for one that meets each window with its first row alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from batuta.agents.evaluation.ranking import Booleans, Integers, Numbers

__all__ = ["PROFILES", "NabScore", "Profile", "Series", "nab_score", "probation_rows"]

_PROBATION_SHARE: Final = 0.15
_PROBATION_ROWS_MAX: Final = 750
_FAR: Final = 3.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What an application cares for.

    Attributes:
        found: what a window found at once is worth.
        false_alarm: what an alarm far from any window costs.
        missed: what a window without an alarm costs.
    """

    found: float
    false_alarm: float
    missed: float


#: As the benchmark publishes them.
PROFILES: Final[Mapping[str, Profile]] = {
    "standard": Profile(found=1.0, false_alarm=0.11, missed=1.0),
    "low_fp": Profile(found=1.0, false_alarm=0.22, missed=1.0),
    "low_fn": Profile(found=1.0, false_alarm=0.11, missed=2.0),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One series of the corpus: how many rows, and its windows' first and last rows, in order."""

    name: str
    rows: int
    windows: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        ends = [row for window in self.windows for row in window]
        assert ends == sorted(ends), f"the windows of {self.name} overlap"
        assert not ends or 0 <= ends[0] <= ends[-1] < self.rows, f"{self.name}: outside its rows"


@dataclass(frozen=True, slots=True)
class NabScore:
    """What a detector reached under one profile.

    Attributes:
        score: 0 for silence, 100 for perfection; below 0 is worse than silence.
        threshold: from which score on a row is an alarm; infinite where silence is best.
        windows_found: of all.
        false_alarms: rows outside all windows that are alarms.
    """

    score: float
    threshold: float
    windows_found: int
    false_alarms: int


@dataclass(frozen=True, slots=True)
class _Rows:
    """The scored rows of the corpus, the most suspicious first."""

    scores: Numbers
    worth: Numbers
    window: Integers


def nab_score(
    corpus: Sequence[Series],
    scores: Mapping[str, Numbers],
    profile: Profile,
    threshold: float | None = None,
) -> NabScore:
    """Score a detector.

    Args:
        corpus: every series.
        scores: of each series, one per row; the higher the more suspicious.
        profile: what counts.
        threshold: which one to use; else the one that is best for the corpus.
    """
    windows = sum(len(series.windows) for series in corpus)
    assert windows, "a corpus without windows"
    rows = _rows_of(corpus, scores)
    gains, found = _gains(rows, windows, profile)
    last = np.append(rows.scores[1:] != rows.scores[:-1], [True])[: len(gains)]
    cuts = np.flatnonzero(last)
    totals = np.concatenate(([0.0], np.cumsum(gains)[cuts]))
    thresholds = np.concatenate(([math.inf], rows.scores[cuts]))
    if threshold is None:
        at = int(np.argmax(totals))
    else:
        at = int(np.count_nonzero(thresholds >= threshold)) - 1
    taken = int(cuts[at - 1]) + 1 if at else 0
    return NabScore(
        score=100.0 * float(totals[at]) / (windows * (profile.found + profile.missed)),
        threshold=float(thresholds[at]),
        windows_found=int(np.count_nonzero(found[:taken])),
        false_alarms=int(np.count_nonzero(rows.window[:taken] < 0)),
    )


def probation_rows(rows: int) -> int:
    """Return how many rows a series of `rows` begins with unscored.

    >>> probation_rows(4032), probation_rows(22695)
    (604, 750)
    """
    return min(math.floor(_PROBATION_SHARE * rows), _PROBATION_ROWS_MAX)


def _rows_of(corpus: Sequence[Series], scores: Mapping[str, Numbers]) -> _Rows:
    parts: list[_Rows] = []
    window = 0
    for series in corpus:
        own = scores[series.name]
        assert len(own) == series.rows, f"{series.name}: one score per row"
        assert not np.isnan(own).any(), f"{series.name}: a score is not a number"
        worth, windows = _worth(series)
        begin = probation_rows(series.rows)
        numbered = np.where(windows >= 0, windows + window, -1)
        parts.append(_Rows(own[begin:], worth[begin:], numbered[begin:]))
        window += len(series.windows)
    every = np.concatenate([part.scores for part in parts])
    order = np.argsort(-every, kind="stable")
    return _Rows(
        every[order],
        np.concatenate([part.worth for part in parts])[order],
        np.concatenate([part.window for part in parts])[order],
    )


def _worth(series: Series) -> tuple[Numbers, Integers]:
    """Return what an alarm is worth at each row, before weights, and its window or -1."""
    worth, window = np.full(series.rows, -1.0), np.full(series.rows, -1, np.int64)
    begins = [begin for begin, _ in series.windows]
    for number, (begin, end) in enumerate(series.windows):
        following = begins[number + 1] if number + 1 < len(begins) else series.rows
        length = end - begin + 1
        inside, after = np.arange(begin, end + 1), np.arange(end + 1, following)
        window[inside] = number
        worth[inside] = _sigmoid(-(end - inside + 1) / length) / _sigmoid(np.array(-1.0))
        worth[after] = _sigmoid((after - end) / max(length - 1, 1))
    return worth, window


def _sigmoid(places: Numbers) -> Numbers:
    near = 2.0 / (1.0 + np.exp(5.0 * np.minimum(places, _FAR))) - 1.0
    return np.where(places > _FAR, -1.0, near)


def _gains(rows: _Rows, windows: int, profile: Profile) -> tuple[Numbers, Booleans]:
    """Return what each further alarm adds to silence, and which ones are their window's first."""
    best = [-profile.missed] * windows
    outside = rows.window < 0
    gains = np.where(outside, rows.worth * profile.false_alarm, 0.0)
    first = np.zeros(len(gains), np.bool_)
    for row in np.flatnonzero(~outside).tolist():
        window, worth = int(rows.window[row]), float(rows.worth[row]) * profile.found
        if worth > best[window]:
            first[row] = best[window] == -profile.missed
            gains[row] = worth - best[window]
            best[window] = worth
    return gains, first
