"""Nobody is asked the same question twice for a correction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.agents.verification.success import key_of

if TYPE_CHECKING:
    from conftest import Mends

    from batuta.schemas.decision import Decision

LOUD, CALM = "Send it back!!!", "Please send it back."
ODD = "rules: [{when: \"text == 'note 1'\", among: [other]}], weights: {only: 1, other: 0.000001}"
CASCADE = 'cascade: [draft, bigger], stop: "confidence > STOP"'
HIGH = '["score > 0.25"]'


def plan_of(remedies: str, *, checks: str = "[tone]", step: str) -> str:
    return f"{{{step}, check: {checks}, on_failure: {remedies}}}"


def told(decision: Decision) -> list[tuple[str, str, str]]:
    return [(one.remedy, one.result, one.reason) for one in decision.corrections]


def test_who_has_failed_already_is_not_asked_the_same_once_more(mends: Mends) -> None:
    step = CASCADE.replace("STOP", "0.99")
    plan = plan_of("[{model: bigger}, {repair: fixer}]", step=step)
    lane = mends(plan, {"draft": [LOUD], "bigger": [LOUD], "fixer": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [
        ("model:bigger", "skipped", "asked_before"),
        ("repair:fixer", "passed", ""),
    ]
    assert lane.state.success.table.get(key_of("only", "tone_shouting", "model:bigger")) is None


def test_who_was_left_out_by_a_cascade_is_asked_as_a_remedy(mends: Mends) -> None:
    plan = plan_of("[{model: bigger}]", checks=HIGH, step=CASCADE.replace("STOP", "0.8"))
    (decision,) = mends(plan, {"draft": [0.1], "bigger": [CALM]}).decide()
    assert told(decision) == [("model:bigger", "passed", "")]


def test_who_is_told_a_critique_is_asked_anew(mends: Mends) -> None:
    """Nobody else of the step is asked for it: `bigger` is not, whom a wavering draft leads to."""
    plan = plan_of("[{model: draft}]", checks=HIGH, step=CASCADE.replace("STOP", "0.8"))
    lane = mends(plan, {"draft": [0.1, CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("model:draft", "passed", "")]
    first, second = (str(row["critique"]) for row in lane.models["draft"].rows)
    assert (first, second.partition(":")[0]) == ("", "rule_broken")
    assert lane.models["bigger"].rows == []


def test_a_remedy_is_left_out_in_the_plan_whose_own_answer_it_is(mends: Mends) -> None:
    """Behind `verify` it may help one plan and not another."""
    plans = f"{{ask: bigger}}\n  other: {{ask: draft}}\nselect: {{among: [only, other], {ODD}}}"
    verify = "verify: {after: models, check: [tone], on_failure: [{model: bigger}]}\n"
    said = {"bigger": [LOUD, CALM], "draft": [LOUD]}
    lane = mends(plans, said, ("deadline: 10s\n", f"deadline: 10s\n{verify}"))
    first, second = lane.decide(lane.note(0), lane.note(1))
    assert told(first) == [("model:bigger", "skipped", "asked_before")]
    assert told(second) == [("model:bigger", "passed", "")]
