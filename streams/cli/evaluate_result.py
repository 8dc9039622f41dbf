"""What `batuta evaluate` makes of decisions: figures beside the published ones, and a saved page.

A walk of a data set through the pipeline, however it was done, is given as `Walked`: one score per
event of the history, the features that each decision names, and what it cost.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from batuta.agents.evaluation.report import Evaluation, Oracle, feature_differences
from batuta.schemas.errors import UsageError
from batuta.streams.cli.evaluate_page import page_of

__all__ = ["Walked", "check_page", "differences_of", "evaluation_as_json", "save_page"]

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walked:
    """A data set's walk through the pipeline.

    Attributes:
        model: the version that scored.
        scores: one per event of the history, NaN where there is no decision.
        features: by name, one value per event, NaN where a decision names none.
        seconds: from the first event's publishing to the last decision.
        cpu_us_per_event: by stage.
    """

    model: str
    scores: Numbers
    features: Mapping[str, Numbers] = field(default_factory=dict[str, Numbers])
    seconds: float = 0.0
    cpu_us_per_event: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def events(self) -> int:
        """How many events were decided."""
        return int(np.count_nonzero(~np.isnan(self.scores)))


def differences_of(walked: Walked, oracle: Oracle) -> int:
    """Return how many of the rows with published features have others in their decisions."""
    nothing = np.full(len(walked.scores), np.nan)
    ours = [walked.features.get(name, nothing)[oracle.rows] for name in oracle.names]
    return feature_differences(np.column_stack(ours), oracle)


def evaluation_as_json(
    pipeline: str, walked: Walked, evaluation: Evaluation, differences: int | None
) -> dict[str, object]:
    """Return what `--json` prints; `feature_differences` only where something is published."""
    result: dict[str, object] = {
        "pipeline": pipeline,
        "model": walked.model,
        "metrics": dict(evaluation.metrics),
        "published": {other.name: dict(other.metrics) for other in evaluation.published},
        "facts": dict(evaluation.facts),
        "events": walked.events,
        "seconds": round(walked.seconds, 3),
        "events_per_second": round(walked.events / max(walked.seconds, 1e-9), 1),
        "cpu_us_per_event": dict(walked.cpu_us_per_event),
    }
    if differences is not None:
        result["feature_differences"] = differences
    return result


def check_page(path: Path) -> None:
    """Look whether a page can be written later: an evaluation takes minutes.

    Raises:
        UsageError: it cannot.
    """
    near = next(one for one in (path, *path.absolute().parents) if one.exists())
    fit = near.is_file() if near == path else near.is_dir()
    if not fit or not os.access(near, os.W_OK):
        raise UsageError(f"cannot write {path}; name another file by --page")


def save_page(path: Path, pipeline: str, walked: Walked, evaluation: Evaluation) -> None:
    """Write the page of an evaluation.

    Raises:
        UsageError: it cannot be written.
    """
    subtitle = f"Decided by {walked.model}, whose curves these are"
    page = page_of(f"Evaluation of {pipeline}", subtitle, evaluation)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
