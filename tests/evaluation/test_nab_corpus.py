"""The benchmark's whole corpus: our scorer gives the published figures, our detector its goal."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from batuta.agents.evaluation.nab import PROFILES, nab_score
from batuta.agents.maintenance.data import (
    SERIES_COLUMNS,
    SERIES_FILE,
    WINDOWS_FILE,
    readings_of,
)
from batuta.agents.maintenance.novelty import empty_memory, surprises
from batuta.streams.data.files import read_columns, read_json

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.agents.maintenance.data import Readings

PUBLISHED = ("windowedGaussian", "numenta", "randomCutForest", "contextOSE", "ARTime")
THEIR_NAMES = {
    "standard": "standard",
    "low_fp": "reward_low_FP_rate",
    "low_fn": "reward_low_FN_rate",
}


@pytest.fixture(scope="session")
def readings(nab_dir: Path) -> Readings:
    columns = read_columns(nab_dir / SERIES_FILE, SERIES_COLUMNS)
    return readings_of(columns, read_json(nab_dir / WINDOWS_FILE))


def test_the_corpus_is_the_published_one(readings: Readings) -> None:
    assert len(readings.corpus) == 58
    assert len(readings) == 365_558
    assert sum(len(series.windows) for series in readings.corpus) == 116


@pytest.mark.parametrize("detector", PUBLISHED)
def test_the_scorer_gives_what_is_published(
    nab_dir: Path, readings: Readings, detector: str
) -> None:
    rows = read_columns(
        nab_dir / "published_scores_5_detectors.parquet", ("series", "row", detector)
    )
    order = np.lexsort((rows["row"], rows["series"]))
    scores = readings.by_series(rows[detector][order].astype(np.float64))
    thresholds = cast(
        "dict[str, dict[str, dict[str, float]]]", read_json(nab_dir / "thresholds.json")
    )
    results = cast(
        "dict[str, dict[str, float]]", read_json(nab_dir / "published_final_results.json")
    )
    for name, profile in PROFILES.items():
        theirs = THEIR_NAMES[name]
        threshold, published = thresholds[detector][theirs]["threshold"], results[detector][theirs]
        used = nab_score(readings.corpus, scores, profile, threshold)
        assert used.score == pytest.approx(published, abs=1e-6)
        best = nab_score(readings.corpus, scores, profile)
        assert best.score >= published - 1e-6
        assert best.score == pytest.approx(published, abs=0.1)


def test_one_setting_for_all_series_reaches_its_goal(readings: Readings) -> None:
    told = np.concatenate(
        [
            surprises(empty_memory(), values.copy())
            for values in readings.by_series(readings.values).values()
        ]
    )
    scores = readings.by_series(told)
    reached = {
        name: nab_score(readings.corpus, scores, profile) for name, profile in PROFILES.items()
    }
    assert reached["standard"].score >= 65.0, reached
    assert reached["low_fp"].score >= 57.0, reached
    assert reached["low_fn"].score >= 70.0, reached
