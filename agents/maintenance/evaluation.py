"""How well surprise finds the benchmark's anomalies, beside what others published.

Published figures: the repository of the Numenta Anomaly Benchmark, version 1.1.
"""

from typing import Final

import numpy as np

from batuta.agents.evaluation.curves import Curve
from batuta.agents.evaluation.nab import PROFILES, nab_score
from batuta.agents.evaluation.ranking import Numbers
from batuta.agents.evaluation.report import Chart, Evaluation, Line, PublishedFigures
from batuta.agents.maintenance.data import Readings
from batuta.schemas.errors import UsageError

__all__ = ["measure_anomalies"]

_POINTS: Final = 60
_NEAR_BELOW: Final = 0.7
_NEAR_ABOVE: Final = 3.0


def _published(name: str, standard: float, low_fp: float, low_fn: float) -> PublishedFigures:
    figures = {"nab_standard": standard, "nab_low_fp": low_fp, "nab_low_fn": low_fn}
    return PublishedFigures(name, figures)


_PUBLISHED: Final = (
    _published("ARTime", 74.9, 65.2, 80.4),
    _published("Numenta HTM", 70.1, 63.1, 74.3),
    _published("CAD OSE", 69.9, 67.0, 73.2),
    _published("random cut forest", 51.7, 38.4, 59.7),
    _published("windowed Gaussian", 39.6, 20.9, 47.4),
)


def measure_anomalies(readings: Readings, scores: Numbers) -> Evaluation:
    """Measure scores on every series.

    Args:
        readings: the whole corpus.
        scores: one per reading, the higher the more surprising; NaN where none was given.

    Raises:
        UsageError: a score is missing.
    """
    missing = int(np.count_nonzero(np.isnan(scores)))
    if missing:
        raise UsageError(f"{missing:,} of {len(readings):,} readings have no score")
    by_series = readings.by_series(scores)
    reached = {
        name: nab_score(readings.corpus, by_series, profile) for name, profile in PROFILES.items()
    }
    standard = reached["standard"]
    return Evaluation(
        metrics={f"nab_{name}": found.score for name, found in reached.items()},
        published=_PUBLISHED,
        facts={
            "data": "47 series recorded, 11 artificial",
            "series": len(readings.corpus),
            "readings": len(readings),
            "windows": sum(len(series.windows) for series in readings.corpus),
            "windows_found": standard.windows_found,
            "false_alarms": standard.false_alarms,
            "threshold": standard.threshold if standard.windows_found else "none",
        },
        charts=(_chart(readings, scores, standard.threshold),) if standard.windows_found else (),
    )


def _chart(readings: Readings, scores: Numbers, best: float) -> Chart:
    """Draw the scores of thresholds about the best one: far below it, alarms never end."""
    by_series = readings.by_series(scores)
    thresholds = np.linspace(_NEAR_BELOW * best, _NEAR_ABOVE * best, _POINTS)
    lines = [
        Line(
            name.replace("_", " "),
            Curve(
                thresholds,
                np.array(
                    [
                        nab_score(readings.corpus, by_series, profile, threshold).score
                        for threshold in thresholds.tolist()
                    ]
                ),
            ),
        )
        for name, profile in PROFILES.items()
    ]
    return Chart("NAB score", "threshold on surprise", "score, 100 is perfect", tuple(lines))
