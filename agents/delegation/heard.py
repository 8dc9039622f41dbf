"""What models have answered about the events of a batch, by model and row.

A row of it, with nothing but what was answered, goes to JSON and back: so work is parked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Answers, Scores
from batuta.agents.models.calibration import Calibration
from batuta.agents.selection.planner import Proposals
from batuta.agents.verification.checkpoint import Checkpoint
from batuta.agents.verification.course import corrections_in
from batuta.agents.verification.taint import Taints
from batuta.agents.verification.trials import FAILED as REFUSED
from batuta.agents.verification.trials import Trials
from batuta.schemas.decision import Correction
from batuta.schemas.errors import FailureKind

__all__ = ["ANSWERED", "ASKED", "FAILED", "UNASKED", "Heard", "Indexes", "Told"]

UNASKED: Final = 0
ASKED: Final = 1
ANSWERED: Final = 2
FAILED: Final = 3
Indexes = npt.NDArray[np.intp]


@dataclass(slots=True)
class Told:
    """What one model has answered.

    Attributes:
        state: (rows,) one of the four states.
        scores, confidence: (rows,) NaN where there is no answer.
        duration_ms, cost_nano: (rows,) how long its call took; its share of what the call cost.
        version: who answered.
        taint: (rows,) what may be wrong with the answer.
        failures, values, evidence: of some rows.
        former: which other version answered some rows, before it gave way to this one; or whose
            answer stands for them, where it was corrected.
        critiques: what it is told of some rows, whose answer has not passed a checkpoint.
    """

    state: npt.NDArray[np.int8]
    scores: Scores
    confidence: Scores
    duration_ms: npt.NDArray[np.int64]
    cost_nano: npt.NDArray[np.int64]
    version: str
    taint: Taints
    currency: str = ""
    failures: dict[int, FailureKind] = field(default_factory=dict[int, FailureKind])
    values: dict[int, object] = field(default_factory=dict[int, object])
    evidence: dict[int, str] = field(default_factory=dict[int, str])
    former: dict[int, str] = field(default_factory=dict[int, str])
    critiques: dict[int, str] = field(default_factory=dict[int, str])

    @classmethod
    def nothing(cls, rows: int, version: str) -> "Told":
        """Return what a model that nobody asked has told."""
        none = np.full(rows, np.nan)
        zero = np.zeros(rows, np.int64)
        clean = np.zeros(rows, np.uint8)
        return cls(np.zeros(rows, np.int8), none, none.copy(), zero, zero.copy(), version, clean)

    def at(self, rows: Indexes) -> "Told":
        """Return some rows."""
        places = {row: place for place, row in enumerate(rows.tolist())}
        return Told(
            self.state[rows],
            self.scores[rows],
            self.confidence[rows],
            self.duration_ms[rows],
            self.cost_nano[rows],
            self.version,
            self.taint[rows],
            self.currency,
            {places[row]: kind for row, kind in self.failures.items() if row in places},
            {places[row]: value for row, value in self.values.items() if row in places},
            {places[row]: text for row, text in self.evidence.items() if row in places},
            {places[row]: version for row, version in self.former.items() if row in places},
            {places[row]: said for row, said in self.critiques.items() if row in places},
        )

    def row(self, row: int) -> dict[str, object]:
        """Return one answer as JSON takes it."""
        score, sure = float(self.scores[row]), float(self.confidence[row])
        return {
            "version": self.former.get(row, self.version),
            "score": score if score == score else None,  # noqa: PLR0124 - NaN is not itself
            "confidence": sure if sure == sure else None,  # noqa: PLR0124
            "failure": self.failures.get(row),
            "duration_ms": int(self.duration_ms[row]),
            "cost_nano": int(self.cost_nano[row]),
            "currency": self.currency,
            "value": self.values.get(row),
            "evidence": self.evidence.get(row),
            "taint": int(self.taint[row]),
        }

    def forget(self, row: int) -> None:
        """Note that one row is not answered; what it has cost so far stands."""
        self.state[row] = UNASKED
        self.scores[row] = self.confidence[row] = np.nan
        for kept in (self.failures, self.values, self.evidence, self.former):
            cast("dict[int, object]", kept).pop(row, None)


class Heard:
    """What all models have answered about some events.

    Attributes:
        rows: how many events.
        told: by model.
        trials: what each checkpoint has found, by its name.
        planners: under which names planners are heard, who answer nothing themselves.
        proposals: what these have proposed.
    """

    def __init__(
        self, rows: int, versions: Mapping[str, str], planners: Sequence[str] = ()
    ) -> None:
        """Begin with nothing.

        Args:
            rows: how many events.
            versions: of the models that may be asked.
            planners: under which names planners are heard.
        """
        self.rows = rows
        self.versions = versions
        self.planners = planners
        self.proposals = Proposals()
        self.told: dict[str, Told] = {}
        self.trials: dict[str, Trials] = {}
        #: What was found before the work was parked, by checkpoint and row.
        self._given: dict[str, dict[int, Mapping[str, object]]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All who may be asked; their places say whose an answer is."""
        return tuple(self.versions)

    def of(self, model: str) -> Told:
        """Return what one model has answered."""
        told = self.told.get(model)
        if told is None:
            told = self.told[model] = Told.nothing(self.rows, self.versions[model])
        return told

    def trials_of(self, checkpoint: Checkpoint) -> Trials:
        """Return what a checkpoint has found.

        Raises:
            KeyError, TypeError, ValueError: what was parked is damaged.
        """
        trials = self.trials.get(checkpoint.name)
        if trials is None:
            trials = self.trials[checkpoint.name] = Trials.none(checkpoint, self.rows)
            for row, found in self._given.pop(checkpoint.name, {}).items():
                trials.give(row, found)
        return trials

    def put_aside(self, models: Iterable[str], row: int) -> dict[str, dict[str, object]]:
        """Forget what some models have answered about a row, and return it."""
        kept: dict[str, dict[str, object]] = {}
        for model in models:
            told = self.told.get(model)
            if told is not None and told.state[row] >= ANSWERED:
                kept[model] = told.row(row)
                told.forget(row)
        return kept

    def put_back(self, row: int, kept: Mapping[str, Mapping[str, object]]) -> None:
        """Take answers back that nobody gave better ones for; what these cost is not forgotten."""
        for model, answer in kept.items():
            told = self.of(model)
            spent_nano = int(told.cost_nano[row])
            told.forget(row)
            self.give(row, {model: answer})
            told.cost_nano[row] = spent_nano

    def spent_nano(self, models: Iterable[str], row: int) -> int:
        """Return what some models have cost one row so far."""
        return sum(int(self.told[name].cost_nano[row]) for name in models if name in self.told)

    def planning_cost(self, row: int) -> tuple[int, str]:
        """Return what planners' answers about a row cost: billionths, and of which currency."""
        spent_nano = self.spent_nano(self.planners, row)
        billed = (self.told[name].currency for name in self.planners if name in self.told)
        return spent_nano, next(filter(None, billed), "") if spent_nano else ""

    @property
    def corrects(self) -> bool:
        """Whether any answer was to be corrected, as far as is known."""
        return bool(self._given) or any(trials.courses for trials in self.trials.values())

    def corrections_of(self, row: int) -> tuple[Correction, ...]:
        """Return what was tried to correct answers about a row.

        Raises:
            KeyError, TypeError, ValueError: what was parked is damaged.
        """
        found: list[Correction] = []
        for trials in self.trials.values():
            if (course := trials.courses.get(row)) is not None:
                found += course.tried
        for given in self._given.values():
            # Nobody has walked that far since it was parked.
            if course_told := given.get(row, {}).get("course"):
                found += corrections_in(cast("Mapping[str, object]", course_told))
        return tuple(found)

    def refusals(self) -> dict[int, str]:
        """Return the rows that a checkpoint did not let pass, and the first reason of each."""
        found: dict[int, str] = {}
        for trials in self.trials.values():
            for row in np.flatnonzero(trials.state == REFUSED).tolist():
                found.setdefault(row, trials.reason(row))
        return found

    def answered_by(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Return the rows that any of these has answered."""
        found = np.zeros(self.rows, np.bool_)
        for name in names:
            if name in self.told:
                found |= self.told[name].state == ANSWERED
        return found

    def stain(self, model: str, rows: Indexes, own: int, reads: Sequence[str]) -> None:
        """Note the taint of a model's answers: its own, and that of the answers it was given."""
        taint = np.full(len(rows), own, np.uint8)
        for other in reads:
            if other in self.told:
                taint |= self.told[other].taint[rows]
        self.of(model).taint[rows] = taint

    def calibrate(self, model: str, rows: Indexes, calibration: Calibration) -> None:
        """Take a model's word on how sure it is for what that has come to mean."""
        told = self.of(model)
        told.confidence[rows] = calibration.of(told.confidence[rows])

    def ask(self, model: str, rows: Indexes) -> None:
        """Note that a model is asked about some rows."""
        self.of(model).state[rows] = ASKED

    def forget_asked(self) -> None:
        """Note that nobody is asked any more: who owns the work next asks again."""
        for told in self.told.values():
            told.state[told.state == ASKED] = UNASKED

    def take(self, model: str, rows: Indexes, answers: Answers, duration_ms: int) -> None:
        """Take a model's answers to `rows`; what is no number from 0 to 1 is paid, and no answer.

        Rows that nobody waits for any more stay as they are, and take their share of the cost.
        """
        late = self._late(model, rows)
        told, scores = self.of(model), np.asarray(answers.scores)
        told.currency = answers.currency
        if answers.cost_nano:
            share, rest = divmod(answers.cost_nano, max(len(rows), 1))
            # One that answers again has been paid before.
            told.cost_nano[rows] += share
            told.cost_nano[rows[:1]] += rest
        if scores.shape != rows.shape or scores.dtype.kind not in "fiu":
            self.fail(model, rows, "invalid", duration_ms)
            return
        usable = (scores >= 0.0) & (scores <= 1.0)  # NaN is neither
        told.state[rows] = np.where(usable, ANSWERED, FAILED)
        told.scores[rows] = scores
        told.confidence[rows] = _confidence(answers, scores)
        told.duration_ms[rows] = duration_ms
        if not usable.all():
            for place in np.flatnonzero(~usable).tolist():
                told.failures[int(rows[place])] = answers.failures.get(place, "invalid")
        _keep(told.values, rows, answers.values)
        _keep(told.evidence, rows, answers.evidence)
        if late is not None:
            self.fail(model, late, "late", duration_ms)

    def _late(self, model: str, rows: Indexes) -> Indexes | None:
        """Return the rows that came to an end while their answer was under way."""
        state = self.of(model).state[rows]
        return None if (state == ASKED).all() else rows[state == FAILED]

    def fail(self, model: str, rows: Indexes, kind: FailureKind, duration_ms: int = 0) -> None:
        """Note that a model has no answer to `rows`."""
        told = self.of(model)
        told.state[rows] = FAILED
        told.scores[rows] = np.nan
        told.duration_ms[rows] = duration_ms
        told.failures.update(dict.fromkeys(rows.tolist(), kind))

    def broke(self) -> npt.NDArray[np.bool_]:
        """Return where a model failed otherwise than by an answer that is none."""
        found = np.zeros(self.rows, np.bool_)
        for told in self._answering():
            found[[row for row, kind in told.failures.items() if kind != "invalid"]] = True
        return found

    def late(self) -> npt.NDArray[np.bool_]:
        """Return where time ran out before a model was heard."""
        return self.failed_by("late")

    def failed_by(self, failure: FailureKind) -> npt.NDArray[np.bool_]:
        """Return where a model failed in one way."""
        found = np.zeros(self.rows, np.bool_)
        for told in self._answering():
            found[[row for row, kind in told.failures.items() if kind == failure]] = True
        return found

    def _answering(self) -> Iterable[Told]:
        """Return what all but planners have told: without these a plan goes on all the same."""
        return (told for name, told in self.told.items() if name not in self.planners)

    def at(self, rows: Indexes) -> "Heard":
        """Return some rows, as a copy."""
        found = Heard(len(rows), self.versions, self.planners)
        found.told = {model: told.at(rows) for model, told in self.told.items()}
        found.trials = {name: trials.at(rows) for name, trials in self.trials.items()}
        return found

    def row(self, row: int) -> dict[str, dict[str, object]]:
        """Return what was answered about one event, as JSON takes it."""
        found: dict[str, dict[str, object]] = {}
        for model, told in self.told.items():
            if told.state[row] >= ANSWERED:
                found[model] = told.row(row)
        return found

    def trial_row(self, row: int) -> dict[str, dict[str, object]]:
        """Return what checkpoints have found about one event, as JSON takes it."""
        return {
            name: trials.row(row)
            for name, trials in self.trials.items()
            if trials.state[row] or row in trials.courses
        }

    def give_trials(self, row: int, found: Mapping[str, Mapping[str, object]]) -> None:
        """Take back what `trial_row` returned."""
        for name, trial in found.items():
            self._given.setdefault(name, {})[row] = trial

    def give(self, row: int, answered: Mapping[str, Mapping[str, object]]) -> None:
        """Take back what `row` returned; models that are known no more are left out.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        for model, one in answered.items():
            if model not in self.versions:
                continue
            told = self.of(model)
            failure = one["failure"]
            told.state[row] = ANSWERED if failure is None else FAILED
            for name, column in (("score", told.scores), ("confidence", told.confidence)):
                value = one[name]
                column[row] = np.nan if value is None else float(cast("float", value))
            told.duration_ms[row] = int(cast("int", one["duration_ms"]))
            told.cost_nano[row] = int(cast("int", one["cost_nano"]))
            told.currency = str(one["currency"])
            version = str(one.get("version", told.version))
            if version != told.version:
                told.former[row] = version
            # Work that was parked before there was taint has none.
            told.taint[row] = int(cast("int", one.get("taint", 0)))
            if failure is not None:
                told.failures[row] = cast("FailureKind", failure)
            if one["value"] is not None:
                told.values[row] = one["value"]
            if one["evidence"] is not None:
                told.evidence[row] = str(one["evidence"])


def _confidence(answers: Answers, scores: Scores) -> Scores:
    """Return how sure a model is; for a bare score, how likely the likelier side is."""
    given = answers.confidence
    if given is None or np.shape(given) != scores.shape:
        return np.maximum(scores, 1.0 - scores)
    return given


def _keep(kept: dict[int, object] | dict[int, str], rows: Indexes, told: Sequence[object]) -> None:
    if len(told) == len(rows):
        cast("dict[int, object]", kept).update(zip(rows.tolist(), told, strict=True))
