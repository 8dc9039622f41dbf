"""Whose text a check looks at: that of whoever answers for the event; no text passes no check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batuta.agents.delegation.plans import checked_within
from batuta.schemas.review import StepAnswer

if TYPE_CHECKING:
    from conftest import Lane, Mends, Said

    from batuta.schemas.decision import Decision

LOUD, CALM, RUDE = "Send it back!!!", "Please send it back.", "Whatever, send it back."
#: A text comes with a score of 0.3, so that a model is sure of it to 0.7.
SURE, UNSURE = '"confidence > 0.6"', '"confidence > 0.99"'
CHECK, PRIVATE = "[tone]", '[{use: "batuta.agents.verification.privacy:PrivacyCheck"}]'


def cascade(stop: str = SURE) -> str:
    return f"cascade: [draft, bigger], stop: {stop}"


def checked(step: str, more: str = "", check: str = CHECK) -> str:
    return f"{{{step}, check: {check}{more}}}"


def told(decision: Decision) -> list[tuple[str, str, str]]:
    return [(one.remedy, one.result, one.reason) for one in decision.corrections]


@pytest.mark.parametrize(
    ("step", "said", "reason"),
    [
        (cascade(), {"draft": [LOUD]}, "tone_shouting"),
        (cascade(), {"draft": [CALM]}, "low"),
        (cascade(UNSURE), {"draft": [CALM], "bigger": [LOUD]}, "tone_shouting"),
        (cascade(UNSURE), {"draft": [LOUD], "bigger": [CALM]}, "low"),
        # Who has no answer leaves the word to the one before.
        (cascade(UNSURE), {"draft": [LOUD], "bigger": [None]}, "tone_shouting"),
        ("fallback: [draft, bigger]", {"draft": [LOUD], "bigger": [CALM]}, "tone_shouting"),
        ("fallback: [draft, bigger]", {"bigger": [LOUD]}, "tone_shouting"),
        # It has answered before, and not for this.
        (
            f"sequence: [bigger, {{{cascade()}}}]",
            {"bigger": [CALM], "draft": [LOUD]},
            "tone_shouting",
        ),
        (
            f"cascade: [{{{cascade()}}}, reply], stop: {SURE}",
            {"draft": [LOUD], "reply": [0.9]},
            "tone_shouting",
        ),
        (
            f"fallback: [{{sequence: [draft, reply]}}, {{{cascade()}}}]",
            {"draft": [LOUD], "reply": [None]},
            "tone_shouting",
        ),
        (
            f"fallback: [{checked('ask: draft', check='[range]')}, bigger]",
            {"draft": [LOUD]},
            "tone_shouting",
        ),
        # Texts that are none.
        (cascade(), {"draft": [0.3]}, "text_missing"),
        ("ask: draft", {"draft": [0.3]}, "text_missing"),
        ("ask: draft", {"draft": [" \u200b\n"]}, "text_missing"),
        # One that nobody reads to its end.
        ("ask: draft", {"draft": [20_001 * "a"]}, "text_too_long"),
    ],
)
def test_the_text_of_whoever_answers_is_checked(
    mends: Mends, step: str, said: dict[str, list[Said]], reason: str
) -> None:
    (decision,) = mends(checked(step), said).decide()
    assert decision.reasons[0] == reason
    assert decision.outcome == ("approve" if reason == "low" else "review")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Ask ada@example.org.", "address_leaked"),
        (CALM, "low"),
        (0.3, "text_missing"),
        (20_001 * "a", "text_too_long"),
    ],
    ids=["leaks", "calm", "none", "long"],
)
def test_a_part_of_ones_own_sees_who_answers_too(
    mends: Mends, said: str | float, reason: str
) -> None:
    (decision,) = mends(checked(cascade(), check=PRIVATE), {"draft": [said]}).decide()
    assert decision.reasons[0] == reason


def test_each_event_of_a_batch_has_its_own(mends: Mends) -> None:
    said: dict[str, list[Said]] = {"draft": [LOUD, 0.5, CALM, 0.5], "bigger": [RUDE, CALM]}
    lane = mends(checked(cascade()), said)
    decisions = lane.decide(*(lane.note(number) for number in range(4)))
    assert [one.reasons[0] for one in decisions] == ["tone_shouting", "tone_rude", "low", "low"]


def test_a_model_that_is_named_and_was_not_asked_has_no_text(mends: Mends) -> None:
    plan = checked(cascade(), check="[{tone: [], of: bigger}]")
    (decision,) = mends(plan, {"draft": [CALM]}).decide()
    assert decision.reasons[0] == "text_missing"


def test_of_several_at_once_the_one_that_is_named_counts(mends: Mends) -> None:
    plan = checked("parallel: [draft, bigger]", check="[{tone: [], of: draft}]")
    (decision,) = mends(plan, {"draft": [LOUD], "bigger": [CALM]}).decide()
    assert decision.reasons[0] == "tone_shouting"


# Remedies


def test_a_repair_is_given_what_stood_and_later_steps_read_what_it_made(mends: Mends) -> None:
    step = checked(cascade(), ', on_failure: [{repair: "mend_parts:Calm"}]')
    plan = f"{{sequence: [{step}, reply]}}"
    lane = mends(plan, {"draft": [LOUD], "reply": [0.4]})
    (decision,) = lane.decide()
    assert told(decision) == [("repair:mend_parts:Calm", "passed", "")]
    assert lane.models["reply"].rows[0]["draft.value"] == {"text": "Send it back."}
    named = {one.name: one.model for one in decision.answers}
    assert named["draft"] == "repair:mend_parts:Calm"


@pytest.mark.parametrize(("mended", "reason"), [(CALM, "low"), (RUDE, "tone_rude")])
def test_a_checkpoint_around_another_sees_what_stands_in(
    mends: Mends, mended: str, reason: str
) -> None:
    inner = checked(cascade(), ", on_failure: [{model: fixer}]", check='["score > 0.35"]')
    lane = mends(
        checked(f"fallback: [{inner}, auditor]"),
        {"draft": [0.3], "bigger": [CALM], "fixer": [mended]},
    )
    lane.models["fixer"].score = 0.4
    (decision,) = lane.decide()
    assert told(decision) == [("model:fixer", "passed", "")]
    assert decision.reasons[0] == reason


def test_whose_answer_failed_is_known_after_a_restart(mends: Mends) -> None:
    """A person has it, and what later steps are given is the answer that stood."""
    step = checked(cascade(), ', on_failure: [{repair: "mend_parts:Calm"}, {human: desk}]')
    lane = mends(step, {"draft": [RUDE]})
    (case,) = lane.batch(lane.note(1))[0].cases
    assert case.failed is not None
    lane.restart()
    answer = StepAnswer(case.case_id, case.step_id, "desk", 0.2, None, "ada", 7)
    (decision,) = lane.batch(answer)[0].decisions
    assert [one.result for one in decision.corrections] == ["failed", "passed"]
    assert (decision.reasons, decision.score) == (("low",), 0.2)


def test_whose_answer_a_model_corrects_is_known_after_a_restart(mends: Mends) -> None:
    step = checked(cascade(), ", on_failure: [{model: fixer}]")
    lane = mends(f"{{sequence: [{step}, reply]}}", {"fixer": [CALM], "reply": [0.4]})
    lane.park(LOUD)
    lane.restart()
    (follow_up,) = lane.batch(revived=True)[0].follow_ups
    (decision,) = lane.batch(news=[follow_up])[0].decisions
    assert told(decision) == [("model:fixer", "passed", "")]
    assert lane.models["reply"].rows[0]["draft.value"] == {"text": CALM}


def test_an_action_does_not_carry_what_failed_behind_a_cascade(mends: Mends) -> None:
    plan = f"{{fallback: [{checked(cascade())}, auditor]}}"
    carries = ("hold: {version: 1}", "hold: {version: 1, carries: draft}")
    (decision,) = mends(plan, {"draft": [LOUD], "auditor": [0.95]}, carries).decide()
    assert (decision.outcome, decision.reasons[0]) == ("review", "tainted")
    assert "failed_check" in decision.taint


def follows(lane: Lane) -> bool:
    delegating = lane.loaded.plan.delegating
    assert delegating is not None
    (node,) = delegating.plans.values()
    (checked_step,) = checked_within(node)
    return checked_step.checkpoint.follows


def test_who_answers_is_followed_only_where_a_check_asks(mends: Mends) -> None:
    assert not follows(mends(checked(cascade(), check='[range, "score > 0.1"]'), {}))
    assert not follows(mends(checked("ask: draft"), {})), "it is the same one for every event"
    assert follows(mends(checked(cascade()), {}))
