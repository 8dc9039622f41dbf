"""A person who corrects an answer: when they are asked, what they see, what their word does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from batuta.schemas.record import Record
from batuta.schemas.review import ANSWER_CHARACTERS_MAX, FailedAnswer, StepAnswer
from batuta.schemas.review_codec import decode_any_case, encode_step_case

if TYPE_CHECKING:
    from conftest import Mends

    from batuta.schemas.decision import Decision

#: What is parked of an answer that a person is shown.
SHOWN = re.compile(rb',"shown":\{[^}]*\}')
LOUD, RUDE = "Send it back!!!", "Whatever, send it back."


def plan_of(remedies: str, *, checks: str = "[tone]", step: str = "ask: draft") -> str:
    return f"{{{step}, check: {checks}, on_failure: {remedies}}}"


def told(decision: Decision) -> list[tuple[str, str, str]]:
    return [(one.remedy, one.result, one.reason) for one in decision.corrections]


def test_a_person_is_asked_last_over_a_restart_and_once(mends: Mends) -> None:
    lane = mends(plan_of("[retry, {human: desk}]"), {"draft": [LOUD]})
    concluded, _ = lane.batch(lane.note(1))
    (case,) = concluded.cases
    assert (concluded.decisions, case.queue) == ([], "mends-review")
    lane.restart()
    answer = StepAnswer(case.case_id, case.step_id, "desk", 0.2, None, "ada", 7)
    (decision,) = lane.batch(answer)[0].decisions
    assert told(decision) == [("retry", "failed", "tone_shouting"), ("human:desk", "passed", "")]
    assert (decision.reasons, decision.taint, decision.score) == (("low",), (), 0.2)
    assert len(lane.models["draft"].rows) == 2, "nobody asks the model once more"
    again, _ = lane.batch(answer)
    assert (again.decisions, again.ignored) == ([], 1)


def test_a_person_who_says_nothing_leaves_it_to_a_review(mends: Mends) -> None:
    lane = mends(plan_of("[{human: desk}]"), {"draft": [LOUD]})
    (case,) = lane.batch(lane.note(1))[0].cases
    answer = StepAnswer(case.case_id, case.step_id, "desk", None, "timeout", "", 7)
    (decision,) = lane.batch(answer)[0].decisions
    assert told(decision) == [("human:desk", "failed", "timeout")]
    assert (decision.outcome, decision.reasons[0]) == ("review", "tone_shouting")


def test_a_person_sees_the_answer_that_failed_and_why(mends: Mends) -> None:
    lane = mends(plan_of("[{model: bigger}, {human: desk}]"), {"draft": [LOUD], "bigger": [RUDE]})
    (case,) = lane.batch(lane.note(1))[0].cases
    assert case.failed is not None
    assert case.failed._replace(critique="") == FailedAnswer(
        "only", ("tone_rude",), "", "bigger@0", RUDE, 0.3, ("outside_text", "failed_check"), 1
    )
    assert case.failed.critique.startswith("tone_rude: ")
    written = encode_step_case(case, "mends.escalations")
    assert decode_any_case(Record("mends.escalations", 0, 0, 0, written.key, written.value)) == case


@pytest.mark.parametrize(
    ("step", "said", "shown"),
    [
        ("ask: draft", {"draft": [0.1]}, ("draft@0", "")),
        # The cascade ended before the model whose answer is the plan's by rights.
        ('cascade: [draft, bigger], stop: "confidence > 0.8"', {"draft": [0.1]}, ("draft@0", "")),
        ("parallel: [draft, bigger]", {"draft": [0.1], "bigger": [0.1]}, ("", "")),
    ],
)
def test_a_person_sees_whose_answer_it_was(
    mends: Mends, step: str, said: dict[str, list[str | float | None]], shown: tuple[str, str]
) -> None:
    plan = plan_of("[{human: desk}]", checks='["score > 0.2"]', step=step)
    lane = mends(plan, said)
    (case,) = lane.batch(lane.note(1))[0].cases
    assert case.failed is not None
    assert (case.failed.model, case.failed.text, case.failed.score) == (*shown, 0.1)
    assert case.failed.reasons == ("rule_broken",)


def test_a_long_answer_is_cut_before_it_is_shown(mends: Mends) -> None:
    lane = mends(plan_of("[{human: desk}]"), {"draft": [LOUD * 1_000]})
    (case,) = lane.batch(lane.note(1))[0].cases
    assert case.failed is not None
    assert len(case.failed.text) == ANSWER_CHARACTERS_MAX
    assert case.failed.text.endswith(" [cut]")


def test_a_person_whom_the_plan_asks_anyway_corrects_nothing(mends: Mends) -> None:
    lane = mends(f"{{fallback: [{plan_of('[retry]')}, desk]}}", {"draft": [LOUD]})
    (case,) = lane.batch(lane.note(1))[0].cases
    assert case.failed is None


def test_what_was_parked_before_people_were_shown_anything_goes_on(mends: Mends) -> None:
    lane = mends(plan_of("[{human: desk}]"), {"draft": [LOUD]})
    (case,) = lane.batch(lane.note(1))[0].cases
    held = [(key, value and SHOWN.sub(b"", value)) for key, value in lane.lot.dump()]
    assert held != lane.lot.dump()
    lane.restart()
    for key, value in held:
        lane.lot.load(key, value)
    answer = StepAnswer(case.case_id, case.step_id, "desk", 0.2, None, "ada", 7)
    (decision,) = lane.batch(answer)[0].decisions
    assert told(decision) == [("human:desk", "passed", "")]
