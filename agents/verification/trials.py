"""What a checkpoint has found about the events of a batch so far; a row of it is parked as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from batuta.agents.models.answers import Scores
from batuta.agents.verification.checkpoint import BROKE, NOT_RUN, Checkpoint
from batuta.agents.verification.course import Course, course_of
from batuta.agents.verification.taint import Taints
from batuta.schemas.decision import CheckResult

__all__ = ["FAILED", "OPEN", "PASSED", "VALIDATING", "Trials"]

OPEN: Final = 0
VALIDATING: Final = 1
PASSED: Final = 2
FAILED: Final = 3


@dataclass(slots=True)
class Trials:
    """The trials of one checkpoint.

    Attributes:
        state: (rows,) one of the four states.
        codes: (checks, rows) what each check has said.
        scores, confidence, taint: (rows,) of the answer as it was checked: what counts.
        critiques: of rows that failed, what was wrong.
        courses: of rows that have failed once, how they are corrected.
        stands_in: (rows,) whose answer on trial is a remedy's, not the step's own: its place among
            the remedies, else -1.
    """

    checkpoint: Checkpoint
    state: npt.NDArray[np.int8]
    codes: npt.NDArray[np.int8]
    scores: Scores
    confidence: Scores
    taint: Taints
    critiques: dict[int, str] = field(default_factory=dict[int, str])
    courses: dict[int, Course] = field(default_factory=dict[int, Course])
    stands_in: npt.NDArray[np.int8] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the step's own answers."""
        self.stands_in = np.full(len(self.state), -1, np.int8)

    @classmethod
    def none(cls, checkpoint: Checkpoint, rows: int) -> "Trials":
        """Begin with nothing."""
        nan = np.full(rows, np.nan)
        codes = np.full((len(checkpoint.names), rows), NOT_RUN, np.int8)
        return cls(
            checkpoint, np.zeros(rows, np.int8), codes, nan, nan.copy(), np.zeros(rows, np.uint8)
        )

    def at(self, rows: npt.NDArray[np.intp]) -> "Trials":
        """Return some rows, as a copy."""
        places = {row: place for place, row in enumerate(rows.tolist())}
        found = Trials(
            self.checkpoint,
            self.state[rows],
            self.codes[:, rows],
            self.scores[rows],
            self.confidence[rows],
            self.taint[rows],
            {places[row]: said for row, said in self.critiques.items() if row in places},
            {places[row]: course for row, course in self.courses.items() if row in places},
        )
        found.stands_in = self.stands_in[rows]
        return found

    def results_of(self, rows: npt.NDArray[np.intp]) -> list[tuple[CheckResult, ...]]:
        """Return what stands in the records of some events; few differ, so they are shared."""
        made: dict[bytes, tuple[CheckResult, ...]] = {}
        found: list[tuple[CheckResult, ...]] = []
        codes = np.ascontiguousarray(self.codes[:, rows].T)
        raw, width = codes.tobytes(), codes.shape[1]
        for start in range(0, width * len(rows), width):
            key = raw[start : start + width]
            results = made.get(key)
            if results is None:
                results = made[key] = self._results(codes[start // width].tolist())
            found.append(results)
        return found

    def _results(self, codes: list[int]) -> tuple[CheckResult, ...]:
        return tuple(
            CheckResult(self.checkpoint.name, name, self.checkpoint.reason(place, code))
            for place, (name, code) in enumerate(zip(self.checkpoint.names, codes, strict=True))
            if code != NOT_RUN
        )

    def reason(self, row: int) -> str:
        """Return the first reason for which an event has failed."""
        return self.reasons(row)[0]

    def reasons(self, row: int) -> tuple[str, ...]:
        """Return why an event has failed, the first check's reason first."""
        codes = self.codes[:, row].tolist()
        found = (self.checkpoint.reason(n, code) for n, code in enumerate(codes) if code > 0)
        return tuple(dict.fromkeys(found))

    def open_again(self, row: int) -> None:
        """Let the step's own answer be checked once more; what was tried is remembered."""
        self.state[row] = OPEN
        self.stands_in[row] = -1
        if (course := self.courses.get(row)) is not None:
            course.remedy, course.under_way = "", False

    def row(self, row: int) -> dict[str, object]:
        """Return one event's trial as JSON takes it."""
        found: dict[str, object] = {
            "state": int(self.state[row]),
            "codes": self.codes[:, row].tolist(),
            "score": float(self.scores[row]),
            "confidence": float(self.confidence[row]),
            "taint": int(self.taint[row]),
        }
        if (course := self.courses.get(row)) is not None:
            found["course"] = course.row()
        return found

    def give(self, row: int, told: Mapping[str, object]) -> None:
        """Take back what `row` returned; what an earlier version of the file checked is open again.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        codes = cast("list[int]", told["codes"])
        state = int(cast("int", told["state"]))
        course = cast("Mapping[str, object] | None", told.get("course"))
        if len(codes) != len(self.codes) or (state == OPEN and course is None):
            return
        if not OPEN <= state <= FAILED or not all(NOT_RUN <= code <= BROKE for code in codes):
            raise ValueError(f"a trial in state {state} with codes {codes}")
        self.codes[:, row] = codes
        self.state[row] = state
        self.scores[row] = _number(told["score"])
        self.confidence[row] = _number(told["confidence"])
        self.taint[row] = int(cast("int", told["taint"]))
        if course is not None:
            self._follow(row, course_of(course))

    def _follow(self, row: int, course: Course) -> None:
        """Go on with a course; a remedy that the file has no more has no answer."""
        self.courses[row] = course
        places = [n for n, one in enumerate(self.checkpoint.remedies.each) if one.stands_in]
        named = {self.checkpoint.remedies.each[place].name: place for place in places}
        self.stands_in[row] = named.get(course.remedy, -1)


def _number(value: object) -> float:
    return np.nan if value is None else float(cast("float", value))
