"""A model that is asked before plans are chosen: rules of `select` go by what it answers."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from batuta.agents.conductor import Conductor
from batuta.agents.delegation.work import put_call
from batuta.agents.models.answers import Answers
from batuta.agents.questions import question_of
from batuta.agents.reasons import NoReasons
from batuta.schemas.errors import ModelFailedError
from batuta.streams.cli.story import Story
from batuta.streams.cli.story_tree import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batuta.agents.delegation.work import Work
    from batuta.schemas.decision import Decision, ModelAnswer, Selection

    Open = Callable[..., Any]

FAILED = "a rule could not be answered"


@dataclass
class Intake:
    """Says of letters in order what the test wants: value, score and confidence, or a failure."""

    says: list[tuple[object, float, float]]
    fails: str = ""
    rows: list[Mapping[str, object]] = field(default_factory=list)
    name: str = "intake"
    version: str = "intake@0"
    reads: tuple[str, ...] = ("size",)

    async def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        self.rows += rows
        if self.fails:
            raise ModelFailedError("timeout", self.name)
        said = [self.says.pop(0) if len(self.says) > 1 else self.says[0] for _ in rows]
        scores, sure = (np.array([one[place] for one in said]) for place in (1, 2))
        return Answers(scores, sure, [value for value, _, _ in said])


class Silent:
    """Asks, and hears nothing."""

    async def drive(self, work: Work) -> None:
        work.due(0)


@dataclass
class OnlyIntake:
    """Asks the intake, and lets whoever is asked next be silent."""

    intake: Intake

    async def drive(self, work: Work) -> None:
        while calls := work.due(0):
            for call in calls:
                try:
                    if call.model == "intake":
                        work.take(call, await put_call(self.intake, call), 0)
                except ModelFailedError as failure:
                    work.fail(call, failure.kind)


def understood(desk: Any, *says: object, fails: str = "") -> Intake:
    """Let an intake say this; values alone are said with a low score."""
    told = [one if isinstance(one, tuple) else (one, 0.1, 0.9) for one in says]
    intake = Intake(told or [({}, 0.1, 0.9)], fails)
    on_disk = desk.on_disk
    desk.conductor = Conductor(
        on_disk.loaded.pipeline,
        {**desk.models, "intake": intake},
        NoReasons(),
        on_disk.loaded.deciding,
    )
    return intake


def decided(desk: Any, count: int = 1, size: float = 1.0) -> Sequence[Decision]:
    letters = [desk.letter() for _ in range(count)]
    for letter in letters:
        letter.data["size"] = size
    decisions: Sequence[Decision] = desk.batch(letters)[0].decisions
    return decisions


def selected(decision: Decision) -> Selection:
    assert decision.selection is not None
    return decision.selection


def answers_of(decision: Decision) -> dict[str, ModelAnswer]:
    return {one.name: one for one in decision.answers}


def test_rules_go_by_what_a_model_has_answered(first: Any) -> None:
    german, french = {"language": "de"}, {"language": "fr", "risk": 1}
    says = (german, (french, 0.9, 0.9), (french, 0.1, 0.999), french)
    intake = understood(first, *says)
    decisions = decided(first, 4)
    assert [selected(one).plan for one in decisions] == ["twice", "deep", "deep", "static"]
    assert selected(decisions[0]).reason == "intake.value.language == 'de' holds"
    assert (selected(decisions[0]).by, selected(decisions[0]).propensity) == ("rules", 1.0)
    assert [[*answers_of(one)] for one in decisions] == [
        ["intake", "cheap", "reader"],
        ["intake", "follower", "strong"],
        ["intake", "follower", "strong"],
        ["intake", "cheap"],
    ]
    # One call about all of them, and steps read its answer without another.
    assert len(intake.rows) == 4
    assert [row["intake.value"] for row in first.models["follower"].rows] == [french, french]
    assert not any(one.fallback for one in decisions)


@pytest.mark.parametrize(
    ("value", "plan", "reason"),
    [
        ({"language": 5, "risk": 1}, "static", "true holds"),
        ({"language": ["de"], "risk": 4.5}, "asked", "intake.value.risk > 3.0 holds"),
        ({"risk": 9.0}, "static", FAILED),
        ({"language": "fr", "risk": "high"}, "static", FAILED),
        ({"language": "fr", "risk": None}, "static", FAILED),
        ({"language": 2**64 - 1, "risk": 1}, "static", "true holds"),
        ({"language": "d" * 1_000_000, "risk": 1, "more": ["x"] * 100_000}, "static", "true holds"),
        ({"de": 6}, "static", FAILED),
        ([{"language": "de"}], "static", FAILED),
        ("language", "static", FAILED),
        (None, "static", FAILED),
    ],
)
def test_whatever_a_model_answers_a_plan_is_chosen(
    first: Any, value: object, plan: str, reason: str
) -> None:
    understood(first, value, {"language": "de"})
    letters = [first.letter(), first.letter()]
    concluded, _ = first.batch(letters)
    if plan == "asked":
        assert len(concluded.cases) == 1
        decisions = concluded.decisions
    else:
        decisions = concluded.decisions
        assert (selected(decisions[0]).plan, bool(decisions[0].fallback)) == (plan, False)
        assert selected(decisions[0]).reason.startswith(reason)
    # What it said of one is nobody else's trouble.
    assert selected(decisions[-1]).plan == "twice"


def test_a_value_nested_deep_chooses_no_plan_by_itself(first: Any) -> None:
    nested: object = "de"
    for _ in range(200):
        nested = [nested]
    understood(first, {"language": nested, "risk": 1}, {"language": "de", "risk": nested})
    assert [selected(one).plan for one in decided(first, 2)] == ["static", "twice"]


def test_an_intake_that_fails_leaves_the_rules_that_need_it_unanswered(first: Any) -> None:
    understood(first, fails="timeout")
    one = decided(first)[0]
    assert (selected(one).plan, selected(one).by) == ("static", "rules")
    assert selected(one).reason == f"{FAILED}: intake timeout"
    assert (answers_of(one)["intake"].failure, answers_of(one)["cheap"].score) == ("timeout", 0.1)
    assert one.fallback, "another plan may have been meant"
    assert (one.outcome, one.reasons[0]) == ("approve", "fine"), "the plan has answered"
    # A rule before that needs nothing of it holds all the same.
    large = decided(first, size=101.0)[0]
    assert (selected(large).plan, large.fallback) == ("deep", False)


def test_an_answer_that_is_none_is_a_failure(first: Any) -> None:
    understood(first, ({"language": "de"}, float("nan"), 0.9), ({"language": "de"}, 7.0, 0.9))
    for one in decided(first, 2):
        assert selected(one).reason == f"{FAILED}: intake invalid"


def test_a_choice_repeats_from_what_was_answered(first: Any) -> None:
    said = [{"language": "de" if number % 3 else "fr", "risk": 0} for number in range(12)]
    understood(first, *said)
    letters = [first.letter() for _ in said]
    before = first.batch(letters)[0].decisions
    understood(first, *said[::-1])
    again = first.batch(letters[::-1])[0].decisions[::-1]
    assert [one.selection for one in before] == [one.selection for one in again]


def test_a_plan_that_cannot_answer_gives_way_once_it_is_chosen(
    desk: Open, intake_first: tuple[str, ...]
) -> None:
    opened = desk(*intake_first, "among: [twice]}", "among: [twice, deep]}")
    understood(opened, {"language": "fr", "risk": 0}, {"language": "de"})
    opened.conductor.refusing = lambda: frozenset({"cheap", "intake"})
    letters = [opened.letter() for _ in range(21)]
    first, *others = opened.batch(letters)[0].decisions
    assert (selected(first).plan, selected(first).by) == ("static", "rules"), "no other is left"
    assert {(selected(one).plan, selected(one).propensity) for one in others} == {("deep", 1.0)}
    assert {selected(one).by for one in others} == {"breaker", "rules"}


def test_an_event_parked_before_it_was_understood_is_asked_about_again(first: Any) -> None:
    understood(first, {"language": "de"})
    first.conductor.driver = Silent()
    first.batch([first.letter()], halfway=True)
    intake = understood(first, {"language": "de"})
    (again,) = first.revived()
    assert list(again.choices) == [None]
    (one,) = first.answer(again)
    assert (selected(one).plan, len(intake.rows)) == ("twice", 1)


@pytest.mark.parametrize("fails", ["", "timeout"])
def test_a_parked_event_goes_on_by_the_plan_it_began_with(
    desk: Open, intake_first: tuple[str, ...], fails: str
) -> None:
    # By the rules and the intake that there are after the restart it would be another.
    before, after = desk(*intake_first), desk(*intake_first, "among: [twice]}", "among: [deep]}")
    intake = understood(before, {"language": "de", "risk": 0}, fails=fails)
    before.conductor.driver = OnlyIntake(intake)
    before.batch([before.letter()], halfway=True)
    later = understood(after, {"language": "fr", "risk": 0})
    after.lot = before.lot
    (again,) = after.revived()
    kept = again.choices[0]
    assert kept.plan == ("static" if fails else "twice")
    (one,) = after.answer(again)
    because = f"{FAILED}: intake timeout" if fails else "intake.value.language == 'de' holds"
    assert (selected(one), selected(one).reason) == (kept, because)
    assert (len(intake.rows), len(later.rows), one.fallback) == (1, 0, bool(fails))
    assert answers_of(one)["intake"].score == (None if fails else 0.1)


def test_a_person_answers_within_the_plan_that_was_chosen(first: Any) -> None:
    intake = understood(first, {"language": "fr", "risk": 9.0})
    first.batch([first.letter()])
    (step,) = first.lot.waiting("human")
    parked = question_of([step], 0)
    assert parked.choices[0] is not None
    assert parked.choices[0].plan == "asked"
    assert parked.answered[0]["intake"]["value"] == {"language": "fr", "risk": 9.0}
    assert len(intake.rows) == 1


def test_time_that_runs_out_before_an_event_is_understood_is_told(first: Any) -> None:
    understood(first, {"language": "de"})
    first.conductor.driver = Silent()
    first.batch([first.letter()], halfway=True)
    first.now_ms = 10_000_000
    (one,) = first.batch([])[0].decisions
    assert (one.outcome, one.reasons[0]) == ("review", "model_late")
    assert (selected(one).plan, selected(one).reason) == ("static", f"{FAILED}: intake late")


def test_what_understood_an_event_steers_its_plan_and_taints_what_it_comes_to(
    desk: Open, intake_first: tuple[str, ...]
) -> None:
    reads = "reads: [size], cost: 0.001 EUR}\n  follower"
    opened = desk(*intake_first, reads, reads.replace("size", "event"))
    understood(opened, {"language": "de"}).reads = ("event",)
    opened.models["reader"].score = 0.9
    one = decided(opened)[0]
    assert one.taint == ("outside_text",)
    assert answers_of(one)["reader"].taint == ()
    # It wants to act, and what a text led to does not.
    assert (one.outcome, one.reasons[0]) == ("review", "tainted")


def test_who_plans_reads_what_was_understood_and_so_do_its_plans(
    desk: Open, intake_first: tuple[str, ...]
) -> None:
    planner = "  planner: {ask: strategist, allow: [follower, cheap], price: 1 EUR}\nverify:\n"
    reads = ("reads: [size], cost: 0.001 EUR}\nplans", "reads: [intake.value], cost: 0 EUR}\nplans")
    opened = desk(*intake_first, "verify:\n", planner, *reads)
    opened.models["strategist"] = opened.strategist
    german: object = {"language": "de"}
    intake = understood(opened, german)
    opened.strategist.says = [{"plan": {"ask": "follower"}}, {"plan": {"ask": "secret"}}]
    first, second = decided(opened, 2)
    assert [row["intake.value"] for row in opened.strategist.rows] == [german, german]
    assert [row["intake.value"] for row in opened.models["follower"].rows] == [german]
    followed, refused = selected(first), selected(second)
    assert (followed.plan, followed.reason) == ("proposed", "strategist plans so; else twice")
    assert (refused.plan, refused.planning) == ("twice", "model_not_allowed")
    assert len(intake.rows) == 2


def test_explain_says_who_was_asked_first(first: Any) -> None:
    understood(first, {"language": "de"})
    screen = io.StringIO()
    tree = tree_of(Story("l0"), decided(first)[0], first.on_disk.loaded)
    Console(file=screen, width=160).print(tree)
    lines = screen.getvalue().splitlines()
    assert lines[0].startswith(
        "plan twice, chosen by rules with a propensity of 100%: intake.value"
    )
    assert "0.100, sure by 0.900, 0 ms, asked before the plan was chosen" in lines[1]
