"""The correction loop through the conductor: what is tried, in which order, and what records say.

Pipelines are files, as users write them; their models answer as a test tells them.
"""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from batuta.agents.delegation.plans import text_of
from batuta.agents.verification.success import Tally, key_of, tallies_of
from batuta.schemas.decision_codec import decode_decision, encode_decision
from batuta.schemas.lease import LeaseGrant
from batuta.schemas.record import Record
from batuta.schemas.review import CRITIQUE_CHARACTERS_MAX
from batuta.streams.cli.story import Story
from batuta.streams.cli.story_tree import tree_of
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from conftest import Mends

    from batuta.schemas.decision import Decision

ODD = "rules: [{when: \"text == 'note 1'\", among: [other]}], weights: {only: 1, other: 0.000001}"
LOUD, CALM, RUDE = "Send it back!!!", "Please send it back.", "Whatever, send it back."


def plan_of(remedies: str, *, checks: str = "[tone]", step: str = "ask: draft") -> str:
    return f"{{{step}, check: {checks}, on_failure: {remedies}}}"


def told(decision: Decision) -> list[tuple[str, str, str]]:
    return [(one.remedy, one.result, one.reason) for one in decision.corrections]


# Each remedy


def test_a_retry_is_told_what_was_wrong(mends: Mends) -> None:
    lane = mends(plan_of("[retry]"), {"draft": [LOUD, CALM]})
    (decision,) = lane.decide()
    assert decision.reasons == ("low",)
    (tried,) = decision.corrections
    assert (tried.at, tried.attempt, tried.remedy) == ("only", 1, "retry")
    assert (tried.failed, tried.result, tried.model) == (("tone_shouting",), "passed", "draft@0")
    assert tried.cost_nano == 1_000_000, "what this attempt cost"
    assert decision.answers[0].cost_nano == 2_000_000, "and what the model has cost with it"
    first, second = (row["critique"] for row in lane.models["draft"].rows)
    assert first == ""
    assert second == tried.critique
    assert str(second).startswith("tone_shouting: write calmly")
    assert [one.reason for one in decision.checks] == [""]


def test_a_remedy_takes_up_one_row_of_a_batch_and_leaves_the_others_alone(mends: Mends) -> None:
    lane = mends(plan_of("[retry]"), {"draft": [CALM, LOUD, CALM]})
    decisions = lane.decide(*(lane.note(number) for number in range(3)))
    assert [len(one.corrections) for one in decisions] == [0, 1, 0]
    assert [row["event.text"] for row in lane.models["draft"].rows][3:] == ["note 1"]


def test_a_repair_by_rules_passes_the_same_checkpoint(mends: Mends) -> None:
    plan = plan_of('[{repair: "mend_parts:Calm"}]')
    lane = mends(f"{{sequence: [{plan}, reply]}}", {"draft": [LOUD], "reply": [0.4]})
    (decision,) = lane.decide()
    assert told(decision) == [("repair:mend_parts:Calm", "passed", "")]
    assert lane.models["reply"].rows[0]["draft.value"] == {"text": "Send it back."}
    assert decision.fallback, "another answer stands for the model's"
    named = {one.name: one.model for one in decision.answers}
    assert named["draft"] == "repair:mend_parts:Calm", "and the record says whose it is"


@pytest.mark.parametrize("part", ["Raising", "Nonsense"])
def test_a_repair_that_breaks_has_failed_and_the_next_is_tried(mends: Mends, part: str) -> None:
    plan = plan_of(f'[{{repair: "mend_parts:{part}"}}, {{model: bigger}}]')
    (decision,) = mends(plan, {"draft": [LOUD], "bigger": [CALM]}).decide()
    assert told(decision) == [
        (f"repair:mend_parts:{part}", "failed", "remedy_broke"),
        ("model:bigger", "passed", ""),
    ]


def test_a_model_that_repairs_reads_the_answer_and_the_critique(mends: Mends) -> None:
    lane = mends(plan_of("[{repair: fixer}]"), {"draft": [LOUD], "fixer": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("repair:fixer", "passed", "")]
    (row,) = lane.models["fixer"].rows
    assert row["draft.value"] == {"text": LOUD}
    assert str(row["critique"]).startswith("tone_shouting: ")


def test_what_comes_of_a_remedy_is_checked_like_any_answer(mends: Mends) -> None:
    plan = plan_of("[retry, {model: bigger}]")
    (decision,) = mends(plan, {"draft": [LOUD, RUDE], "bigger": [LOUD]}).decide()
    assert told(decision) == [
        ("retry", "failed", "tone_rude"),
        ("model:bigger", "failed", "tone_shouting"),
    ]
    assert [one.failed for one in decision.corrections] == [("tone_shouting",), ("tone_rude",)]
    assert (decision.outcome, decision.reasons[0]) == ("review", "tone_shouting")
    assert decision.taint == ("outside_text", "failed_check")


def test_a_check_that_raises_counts_as_failed_each_time(mends: Mends) -> None:
    plan = plan_of("[{retry: 2}]", checks='[{use: "mend_parts:Broken"}]')
    (decision,) = mends(plan, {"draft": [CALM]}).decide()
    assert told(decision) == [("retry", "failed", "check_broke")] * 2
    assert decision.reasons[0] == "check_broke"


def test_validators_judge_the_new_answer_too(mends: Mends) -> None:
    plan = plan_of("[retry]", checks="[tone, {validator: auditor}]")
    lane = mends(plan, {"draft": [CALM, CALM], "auditor": [0.2, 0.9]})
    (decision,) = lane.decide()
    assert told(decision) == [("retry", "passed", "")]
    assert decision.corrections[0].failed == ("validator_refused",)
    assert len(lane.models["auditor"].rows) == 2


def test_a_long_critique_is_cut_and_marked(mends: Mends) -> None:
    step = " ".join(f"word{number}" for number in range(100))
    lane = mends(plan_of("[retry]", checks=f"[{{compliance: [{step}]}}]"), {"draft": [CALM]})
    (decision,) = lane.decide()
    said = str(lane.models["draft"].rows[1]["critique"])
    assert len(said) == CRITIQUE_CHARACTERS_MAX
    assert said.endswith(" [cut]")
    assert decision.corrections[0].critique == said


# Bounds, and what cannot be done


def test_attempts_are_bounded_per_event_and_per_failure(mends: Mends) -> None:
    remedies = "{remedies: [{retry: 5}, {model: bigger}], attempts: 4, attempts_per_reason: 2}"
    lane = mends(plan_of(remedies), {"draft": [LOUD, LOUD, RUDE, RUDE], "bigger": [RUDE]})
    (decision,) = lane.decide()
    assert told(decision) == [
        ("retry", "failed", "tone_shouting"),
        ("retry", "failed", "tone_rude"),
        ("retry", "failed", "tone_rude"),
        ("retry", "failed", "tone_rude"),
    ]
    assert Counter(one.failed[0] for one in decision.corrections) == {
        "tone_shouting": 2,
        "tone_rude": 2,
    }


def test_a_remedy_may_be_for_some_failures_only(mends: Mends) -> None:
    remedies = '[{repair: "mend_parts:Calm", reasons: [tone_shouting]}, {model: bigger}]'
    (decision,) = mends(plan_of(remedies), {"draft": [RUDE], "bigger": [CALM]}).decide()
    assert told(decision) == [("model:bigger", "passed", "")]


def test_who_does_not_answer_has_failed_and_the_answer_before_is_kept(mends: Mends) -> None:
    plan = plan_of("{remedies: [retry, {repair: fixer}], order: file}")
    lane = mends(plan, {"draft": [LOUD, None], "fixer": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("retry", "failed", "unavailable"), ("repair:fixer", "passed", "")]
    assert lane.models["fixer"].rows[0]["draft.value"] == {"text": LOUD}
    assert decision.answers[0].failure == ""


def test_a_remedy_that_an_event_has_no_time_for_is_skipped(mends: Mends) -> None:
    plan = plan_of("[{model: bigger, needs: 11s}, retry]")
    lane = mends(plan, {"draft": [LOUD, CALM], "bigger": [CALM]})
    (decision,) = lane.decide()
    assert told(decision) == [("model:bigger", "skipped", "no_time"), ("retry", "passed", "")]
    assert lane.models["bigger"].rows == []
    assert lane.state.success.table.get(key_of("only", "tone_shouting", "model:bigger")) is None


def test_a_remedy_that_cannot_be_paid_for_is_skipped(mends: Mends) -> None:
    budget = "deadline: 10s\nbudget: {limit: 1 EUR, per: month, models: [bigger]}\n"
    said = {"draft": [LOUD, CALM], "bigger": [CALM]}
    lane = mends(plan_of("[{model: bigger}, retry]"), said, ("deadline: 10s\n", budget))
    assert lane.state.wallet is not None
    purse = lane.state.wallet.purse
    lane.state.begin()
    (request,) = purse.tend(["monthly"], 0, lane.now_ms)
    turns_ms, limit_nano = lane.now_ms + 86_400_000, 1_000_000_000
    spent = LeaseGrant("monthly", 0, request.number, 0, turns_ms, "stop", limit_nano, limit_nano)
    purse.opened(purse.take([spent], lane.now_ms))
    lane.state.changes(lane.now_ms)
    lane.state.commit()
    (decision,) = lane.decide()
    assert told(decision) == [("model:bigger", "skipped", "budget_spent"), ("retry", "passed", "")]
    assert lane.models["bigger"].rows == []


# Parked


def test_an_attempt_that_is_parked_goes_on_after_a_restart(mends: Mends) -> None:
    """The first retry has failed and the second is under way when the worker ends."""
    plan = plan_of("[{retry: 2}]")
    lane = mends(plan, {"draft": [CALM]})
    lane.park(LOUD, RUDE)
    assert lane.decisions == []
    lane.restart()
    (follow_up,) = lane.batch(revived=True)[0].follow_ups
    (decision,) = lane.batch(news=[follow_up])[0].decisions
    assert told(decision) == [("retry", "failed", "tone_rude"), ("retry", "passed", "")]
    (row,) = lane.models["draft"].rows
    assert str(row["critique"]).startswith("tone_rude: "), "it is told again what was wrong"
    assert lane.batch(news=[follow_up])[0].decisions == [], "and decided once"


def test_a_model_of_any_plan_is_told_its_critique_after_a_restart(mends: Mends) -> None:
    """Plans stand behind one checkpoint, and each is corrected by its own models."""
    plans = f"{{ask: bigger}}\n  other: {{ask: draft}}\nselect: {{among: [only, other], {ODD}}}"
    verify = "deadline: 10s\nverify: {after: models, check: [tone], on_failure: [retry]}\n"
    heeds = ("reads: [event.text]", "reads: [event.text, critique]")
    lane = mends(plans, {"bigger": [CALM], "draft": [CALM]}, ("deadline: 10s\n", verify), heeds)
    lane.park(LOUD, events=2)
    lane.restart()
    follow_ups = lane.batch(revived=True)[0].follow_ups
    decisions = lane.batch(news=follow_ups)[0].decisions
    followed = [one.selection.plan if one.selection else "" for one in decisions]
    assert followed == ["only", "other"]
    for model, decision in zip(("bigger", "draft"), decisions, strict=True):
        assert told(decision) == [("retry", "passed", "")]
        (row,) = lane.models[model].rows
        assert str(row["critique"]).startswith("tone_shouting: ")


# What has helped


def test_what_has_helped_goes_first_and_the_tallies_equal_a_recount(mends: Mends) -> None:
    plan = plan_of("[{model: bigger}, {repair: fixer}, {retry: 1, place: first}, {human: desk}]")
    lane = mends(plan, {"draft": [LOUD], "bigger": [RUDE], "fixer": [CALM]})
    for number in range(6):
        lane.decide(lane.note(number))
    orders = [[one.remedy for one in decision.corrections] for decision in lane.decisions]
    assert orders[0] == ["retry", "model:bigger", "repair:fixer"]
    assert orders[-1] == ["retry", "repair:fixer"], "it fails, and the one behind it helps"
    assert [one.odds for one in lane.decisions[0].corrections] == [0.5] * 3
    lane.restart()
    held = dict(lane.state.success.table.items())
    assert held == dict(tallies_of(lane.decisions))
    assert held[key_of("only", "tone_shouting", "retry")] == Tally(6, 0, lane.now_ms)
    lane.decide(lane.note(7))
    assert [one.remedy for one in lane.decisions[-1].corrections] == orders[-1], "it repeats"


# Taint


@pytest.mark.parametrize(
    ("remedies", "taint"),
    [
        ("[retry]", ("outside_text",)),
        ('[{repair: "mend_parts:Calm"}]', ("outside_text",)),
        # It reads neither text nor answer: what it says is its own.
        ("[{model: plain}]", ()),
        # It reads the answer that failed.
        ("[{repair: fixer}]", ("outside_text",)),
    ],
)
def test_a_corrected_answer_is_as_tainted_as_what_it_was_made_of(
    mends: Mends, remedies: str, taint: tuple[str, ...]
) -> None:
    plain = '  plain: {adapter: python, use: "mend_parts:Writer", reads: [ones], cost: 0 EUR}\n'
    ones = 'understand:\n  - context: {ones: "1.0"}\nmodels:\n'
    said = {"draft": [LOUD, CALM], "plain": [CALM], "fixer": [CALM]}
    lane = mends(plan_of(remedies), said, ("models:\n", ones), ("  desk:", f"{plain}  desk:"))
    (decision,) = lane.decide()
    assert decision.corrections[-1].result == "passed"
    assert decision.taint == taint


def test_a_record_with_corrections_is_read_as_it_was_written(mends: Mends) -> None:
    plan = plan_of("[{model: bigger, needs: 11s}, retry]")
    (decision,) = mends(plan, {"draft": [LOUD, CALM]}).decide()
    written = encode_decision(decision, "mends.decisions")
    read = decode_decision(Record("mends.decisions", 0, 0, 0, written.key, written.value))
    assert read.corrections == decision.corrections


def test_people_read_what_is_tried_and_what_was(mends: Mends) -> None:
    plan = plan_of("[{retry: 2}, {model: bigger}, {human: desk}]")
    said = {"draft": [LOUD], "bigger": [CALM]}
    lane = mends(plan, said)
    (node,) = lane.loaded.plan.delegating.plans.values()
    tried = "retry with the critique up to 2 times, then model bigger, then human desk"
    assert text_of(node) == f"draft, checked: tone, on failure: {tried}"
    (decision,) = mends(
        plan_of("[retry, {model: bigger}]"), {"draft": [LOUD], "bigger": [CALM]}
    ).decide()

    def against(remedy: str, attempt: int) -> str:
        return f"attempt {attempt}: {remedy} against tone_shouting, odds 50%"

    screen = io.StringIO()
    shipped = PIPELINES["fraud"]
    Console(file=screen, width=120).print(tree_of(Story("n0"), decision, shipped))
    drawn = [line.strip("│├└─ ") for line in screen.getvalue().splitlines()]
    begin = drawn.index("corrected at only")
    assert drawn[begin + 1 : begin + 3] == [
        f"{against('retry', 1)}  failed: tone_shouting  draft@0, 0 ms, 0.001 EUR",
        f"{against('model:bigger', 2)}  passed  bigger@0, 0 ms, 0.02 EUR",
    ]
