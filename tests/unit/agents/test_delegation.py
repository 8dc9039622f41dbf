"""Plans, walked: who is asked when, what counts, and that parked work goes on where it stood."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from batuta.agents.delegation.heard import Heard
from batuta.agents.delegation.plans import Ask, Cascade, Fallback, Parallel, Sequence, text_of
from batuta.agents.delegation.terms import Terms
from batuta.agents.delegation.work import Call, InTurn, Work
from batuta.agents.models.answers import Answers
from batuta.agents.models.calibration import Calibration
from batuta.agents.policy.expressions import Expression
from batuta.agents.policy.names import Names
from batuta.agents.recorded_answers import UNAWAITED, answers_about

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batuta.agents.delegation.heard import Indexes
    from batuta.agents.delegation.plans import Combine, Node
    from batuta.agents.models.port import AnyModel, Matrix, Scores
    from batuta.schemas.errors import FailureKind

A, B, C = Ask("a"), Ask("b"), Ask("c")
VERSIONS = {name: f"{name}@0" for name in "abc"}
SURE = Expression("confidence > 0.9", Names({"score": "double", "confidence": "double"}), ("bool",))
NAN = float("nan")


def parallel(combine: Combine = "mean", quorum: int = 3, **more: object) -> Parallel:
    weights = (6.0, 3.0, 1.0) if combine == "weighted" else (1.0,) * 3
    return Parallel((A, B, C), combine, weights, quorum, **more)  # type: ignore[arg-type]


class Case:
    """Work about a few events, driven by hand."""

    def __init__(
        self,
        node: Node,
        rows: int = 2,
        heard: Heard | None = None,
        terms: Mapping[str, Terms] | None = None,
    ) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.node, self.rows = node, rows
        heard = heard or Heard(rows, VERSIONS)
        self.work = Work(heard, [(node, np.ones(rows, np.bool_))], self._inputs, terms)
        self.open: dict[str, Call] = {}

    def _inputs(self, model: str, rows: Indexes, heard: Heard) -> Matrix:
        del heard
        self.asked.append((model, rows.tolist()))
        return np.zeros((len(rows), 1), np.float32)

    def due(self, elapsed_ms: int = 0) -> list[str]:
        calls = self.work.due(elapsed_ms)
        self.open |= {call.model: call for call in calls}
        return [call.model for call in calls]

    def say(self, model: str, *scores: float) -> Case:
        self.work.take(self.open.pop(model), Answers(np.array(scores)), 5)
        return self

    def fail(self, model: str, kind: FailureKind = "timeout") -> Case:
        self.work.fail(self.open.pop(model), kind)
        return self

    @property
    def told(self) -> list[float | None]:
        """The score of each row, None where there is none."""
        reached = self.work.reached
        assert reached.done.all()
        return [
            round(score, 6) if usable else None
            for score, usable in zip(reached.scores.tolist(), reached.usable.tolist(), strict=True)
        ]

    @property
    def recorded(self) -> list[tuple[str, str]]:
        """Who stands in the record of the first row, and why there is no answer."""
        (answers,) = answers_about(self.work.heard, np.array([0]), self.work.reached.done)
        return [(one.name, one.failure) for one in answers]


def test_a_sequence_asks_the_next_only_about_what_has_an_answer() -> None:
    case = Case(Sequence((A, B)))
    assert case.due() == ["a"]
    assert case.say("a", 0.2, NAN).due() == ["b"]
    assert case.asked == [("a", [0, 1]), ("b", [0])]
    assert case.say("b", 0.7).due() == []
    assert case.told == [0.7, None]


def test_a_fallback_asks_the_next_only_where_there_is_no_answer_and_marks_it() -> None:
    case = Case(Fallback((A, B)))
    case.due()
    assert case.say("a", 0.2, NAN).due() == ["b"]
    case.say("b", 0.7).due()
    assert case.told == [0.2, 0.7]
    assert case.work.reached.marked.tolist() == [False, True]


def test_a_cascade_stops_where_one_is_sure_and_keeps_the_cheap_answer_where_the_strong_fails() -> (
    None
):
    case = Case(Cascade((A, B), SURE), rows=3)
    case.due()
    case.say("a", 0.95, 0.5, 0.6).due()
    assert case.asked[-1] == ("b", [1, 2])
    case.say("b", 0.8, NAN).due()
    assert case.told == [0.95, 0.8, 0.6]
    assert case.work.reached.marked.tolist() == [False, False, True]


def test_a_cascade_stops_where_confidence_has_come_to_mean_enough() -> None:
    # Who says 0.95 is right seven times of ten; who says 0.99, nearly always.
    terms = {"a": Terms(calibration=Calibration(((0.5, 0.5), (0.95, 0.7), (0.99, 0.96))))}
    case = Case(Cascade((A, B), SURE), rows=3, terms=terms)
    case.due()
    assert case.say("a", 0.95, 0.99, NAN).due() == ["b"]
    assert case.asked[-1] == ("b", [0, 2])
    case.say("b", 0.2, 0.3).due()
    assert case.told == [0.2, 0.99, 0.3]
    kept = [case.work.heard.row(row)["a"]["confidence"] for row in range(3)]
    assert kept == [0.7, 0.96, None]


@pytest.mark.parametrize(
    ("combine", "told"), [("mean", 0.5), ("vote", 0.666667), ("weighted", 0.7)]
)
def test_parallel_answers_are_combined(combine: Combine, told: float) -> None:
    case = Case(parallel(combine), rows=1)
    assert case.due() == ["a", "b", "c"]
    case.say("a", 0.9).say("b", 0.5).say("c", 0.1).due()
    assert case.told == [told]


def test_a_quorum_lets_some_fail_and_too_few_are_no_answer() -> None:
    case = Case(parallel(quorum=2), rows=1)
    case.due()
    case.fail("a").say("b", 0.2).say("c", 0.4).due()
    assert case.told == [0.3]
    assert case.work.reached.marked.tolist() == [True]
    short = Case(parallel(quorum=2), rows=1)
    short.due()
    short.fail("a").fail("b").due()
    assert short.told == [None], "nobody waits for an answer that changes nothing"


def test_the_first_answer_is_enough_where_the_plan_says_so() -> None:
    case = Case(parallel(quorum=1, first=True), rows=1)
    case.due()
    case.say("b", 0.2).due()
    assert case.told == [0.2]


def test_what_is_there_counts_once_the_time_is_up() -> None:
    case = Case(parallel(quorum=1, within_ms=120), rows=1)
    case.due()
    case.say("b", 0.2).due(119)
    assert not case.work.done
    assert case.work.next_ms == 120
    case.due(120)
    assert case.told == [0.2]
    assert case.recorded == [("a", UNAWAITED), ("b", ""), ("c", UNAWAITED)]


def test_the_record_names_whom_the_plan_did_not_wait_for_once_it_is_through() -> None:
    case = Case(Sequence((parallel(quorum=2, first=True), Ask("b"))), rows=1)
    case.due()
    case.say("a", 0.2)
    assert case.recorded == [("a", "")], "whom it waits for still may answer"
    case.say("c", 0.4).due()
    assert case.recorded == [("a", ""), ("c", "")]
    case.say("b", 0.6).due()
    assert case.told == [0.6]
    assert case.recorded == [("a", ""), ("b", ""), ("c", "")]


def test_plans_nest() -> None:
    node = Fallback((Parallel((A, B), "mean", (1.0, 1.0), 2), C))
    case = Case(node, rows=1)
    assert case.due() == ["a", "b"]
    assert case.fail("a").due() == ["c"]
    case.say("c", 0.4).due()
    assert case.told == [0.4]
    assert text_of(node) == "(mean of (a & b), 2 needed), else c"


def test_parked_work_goes_on_where_it_stood() -> None:
    """A row is written down while its second model is under way; nobody asks the first again."""
    case = Case(Sequence((A, B)))
    case.due()
    case.say("a", 0.2, 0.3).due()
    written = case.work.heard.row(1)
    heard = Heard(1, VERSIONS)
    heard.give(0, written)
    again = Case(Sequence((A, B)), 1, heard)
    assert again.due() == ["b"]
    again.say("b", 0.6).due()
    assert again.told == [0.6]
    assert again.work.heard.row(0)["a"] == written["a"]


class Broken:
    name, version, inputs = "a", "a@0", ("x",)

    async def answer(self, inputs: Matrix) -> Scores:
        raise ZeroDivisionError(inputs.shape)


class Half:
    name, version, inputs = "b", "b@0", ("x",)

    async def answer(self, inputs: Matrix) -> Scores:
        return np.full(len(inputs), 0.5)


def test_a_model_that_breaks_is_told_of_and_its_fallback_answers() -> None:
    told: list[Exception] = []
    case = Case(Fallback((A, B)))
    models: dict[str, AnyModel] = {"a": Broken(), "b": Half()}
    asyncio.run(InTurn(models, told.append).drive(case.work))
    assert case.told == [0.5, 0.5]
    assert [type(one) for one in told] == [ZeroDivisionError]
    assert case.work.heard.told["a"].failures == {0: "broke", 1: "broke"}
