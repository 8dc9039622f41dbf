"""What a planner proposes is followed within its bounds, recorded, and repeated from the record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from batuta.agents.conductor import Conductor
from batuta.agents.delegation.work import put_call
from batuta.agents.reasons import NoReasons
from batuta.schemas import codec
from batuta.schemas.codec import decode_decision
from batuta.schemas.record import Record
from batuta.schemas.review import StepAnswer
from batuta.streams.evaluation.without_people import without_people

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batuta.agents.delegation.work import Work
    from batuta.agents.models.port import AnyModel
    from batuta.schemas.decision import Decision, Selection

    Open = Callable[..., Any]

STRONG = {"plan": {"ask": "strong"}}
BOTH = {"plan": {"sequence": ["cheap", "reader"]}}


def selection_of(decision: Decision) -> Selection:
    assert decision.selection is not None
    return decision.selection


def asked_in(decision: Decision) -> set[str]:
    return {answer.name for answer in decision.answers}


class Driving:
    """Asks models in turn; leaves out some, and never asks those that rest."""

    def __init__(
        self,
        models: Mapping[str, AnyModel],
        unheard: frozenset[str] = frozenset(),
        resting: frozenset[str] = frozenset(),
    ) -> None:
        self.models, self.unheard, self.resting = models, unheard, resting

    async def drive(self, work: Work) -> None:
        while calls := work.due(0, self.resting.__contains__):
            for call in calls:
                if call.model not in self.unheard:
                    work.take(call, await put_call(self.models[call.model], call), 0)


def driving(desk: Any, **left_out: frozenset[str]) -> Driving:
    return Driving({**desk.models, "strategist": desk.strategist}, **left_out)


def test_a_proposed_plan_is_followed_and_recorded(desk: Open) -> None:
    opened = desk()
    (decision,) = opened.decide(STRONG)
    chosen = selection_of(decision)
    assert chosen.plan == "proposed"
    assert (chosen.by, chosen.planning, chosen.propensity) == ("planner", "followed", 1.0)
    assert chosen.proposal == '{"ask":"strong"}'
    assert asked_in(decision) == {"strategist", "strong"}
    assert (chosen.planning_cost_nano, chosen.planning_currency) == (1_000_000, "EUR")
    assert decision.model == "strong@0", "whoever plans has not answered"
    assert not decision.fallback
    written = codec.encode_decision(decision, "letters.decisions").value
    read = decode_decision(Record("letters.decisions", 0, 0, 0, None, written))
    assert selection_of(read) == chosen


def test_the_planner_reads_cards_plans_and_limits(desk: Open) -> None:
    opened = desk()
    opened.decide(STRONG)
    (row,) = opened.strategist.rows
    briefing = row["briefing"]
    assert row["size"] == 1.0
    assert set(briefing["models"]) == {"cheap", "strong", "reader", "dear", "analyst"}
    assert briefing["models"]["strong"]["cost"] == "0.01 EUR"
    assert briefing["plans"] == {"static": "cheap", "twice": "cheap then reader"}
    assert briefing["limits"] == {"depth": 4, "steps": 12, "bytes": 2_048, "price": "0.02 EUR"}
    assert "sequence" in briefing["grammar"]


def test_a_proposal_is_one_whatever_the_order_of_its_keys(desk: Open) -> None:
    opened = desk()
    first = {"cascade": ["cheap", "strong"], "stop": "score > 0.5"}
    second = {"stop": "score > 0.5", "cascade": ["cheap", {"ask": "strong"}]}
    texts = [
        selection_of(one).proposal
        for one in opened.decide({"plan": first}, {"plan": json.dumps(first, indent=1)})
    ]
    assert texts[0] == texts[1]
    (other,) = opened.decide({"plan": second})
    assert asked_in(other) == {"strategist", "cheap", "strong"}


def test_what_may_not_be_followed_leaves_the_plan_of_the_file(desk: Open) -> None:
    (decision,) = desk().decide({"plan": {"ask": "secret"}})
    chosen = selection_of(decision)
    assert (chosen.plan, chosen.by, chosen.proposal) == ("static", "only", "")
    assert chosen.planning == "model_not_allowed"
    assert chosen.planning_cost_nano == 1_000_000, "paid all the same"
    assert "strategist" in chosen.reason
    assert decision.fallback
    assert decision.outcome == "approve"
    assert asked_in(decision) == {"strategist", "cheap"}


def test_a_planner_that_fails_leaves_the_plan_of_the_file(desk: Open) -> None:
    opened = desk()
    opened.strategist.fails = True
    (decision,) = opened.decide(STRONG)
    assert selection_of(decision).planning == "timeout"
    assert selection_of(decision).planning_cost_nano == 0
    assert (decision.outcome, decision.reasons[0]) == ("approve", "fine")
    opened.models["cheap"].score = float("nan")
    (decision,) = opened.decide(STRONG)
    assert decision.reasons[0] == "model_answer_invalid", "the planner's failure is not the reason"


def test_a_planner_that_rests_leaves_the_plan_of_the_file(desk: Open) -> None:
    opened = desk()
    opened.conductor.driver = driving(opened, resting=frozenset({"strategist"}))
    (decision,) = opened.decide(STRONG)
    assert selection_of(decision).planning == "breaker_open"
    assert not opened.strategist.rows
    assert decision.outcome == "approve"


@pytest.mark.parametrize("replans", [0, 1])
def test_a_plan_whose_models_rest_gives_way(desk: Open, replans: int) -> None:
    opened = desk("replans: 0", f"replans: {replans}")
    opened.strategist.again = STRONG
    opened.conductor.driver = driving(opened, resting=frozenset({"strong"}))
    (decision,) = opened.decide(STRONG)
    chosen = selection_of(decision)
    assert (chosen.plan, chosen.planning) == ("static", "unanswered")
    assert '{"ask":"strong"}' in chosen.proposal
    assert decision.fallback
    assert decision.outcome == "approve"
    assert len(opened.strategist.rows) == 1 + replans, "once more, and no third time"


def test_a_planner_may_plan_once_more_where_a_model_has_failed(desk: Open) -> None:
    opened = desk("replans: 0", "replans: 1")
    opened.models["strong"].fails = True
    opened.strategist.again = BOTH
    (decision,) = opened.decide(STRONG)
    chosen = selection_of(decision)
    assert (chosen.by, chosen.planning) == ("planner", "replanned")
    assert json.loads(chosen.proposal) == [STRONG["plan"], BOTH["plan"]]
    assert asked_in(decision) == {"strategist", "strategist.again", "strong", "cheap", "reader"}
    again = opened.strategist.rows[1]["briefing"]
    assert again["failed"] == {"strong": "unavailable"}
    assert again["planned"] == STRONG["plan"]
    paid = sum(one.cost_nano for one in decision.answers if one.name.startswith("strategist"))
    assert paid == chosen.planning_cost_nano == 2_000_000, "each of its plans is paid for"
    assert decision.outcome == "approve"


def test_a_second_plan_is_judged_as_the_first_is(desk: Open) -> None:
    opened = desk("replans: 0", "replans: 1")
    opened.models["strong"].fails = True
    opened.strategist.again = {"plan": {"ask": "dear"}}
    (decision,) = opened.decide(STRONG)
    chosen = selection_of(decision)
    assert (chosen.plan, chosen.planning) == ("static", "over_price")
    assert chosen.proposal == '{"ask":"strong"}'
    assert not opened.models["dear"].rows


def test_a_plan_whose_text_would_be_nobodys_is_not_followed(desk: Open) -> None:
    opened = desk('- "score < 0.99"', "- tone")
    both = {"plan": {"parallel": ["cheap", "strong"]}}
    last = {"plan": {"sequence": [{"parallel": ["cheap", "strong"]}, "reader"]}}
    first, second = opened.decide(both, last)
    assert selection_of(first).planning == "not_compiled"
    assert selection_of(second).planning == "followed"
    assert [one.reasons[0] for one in (first, second)] == ["text_missing"] * 2


def test_what_a_checkpoint_has_refused_is_not_planned_around(desk: Open) -> None:
    opened = desk("replans: 0", "replans: 1")
    opened.models["strong"].score = 0.995
    (decision,) = opened.decide(STRONG)
    assert (decision.outcome, decision.reasons[0]) == ("review", "rule_broken")
    assert selection_of(decision).planning == "followed"
    assert not opened.models["cheap"].rows
    assert len(opened.strategist.rows) == 1


READS_TEXT = (
    'strategist: {adapter: python, use: "chart_parts:Part", reads: [size]',
    'strategist: {adapter: python, use: "chart_parts:Part", reads: [event.letter]',
)


def tainting(desk: Open, check: str) -> Any:
    """Return a desk whose planner reads what strangers write, and whose models are sure."""
    opened = desk(*READS_TEXT, '"score < 0.99"', check)
    for model in opened.models.values():
        model.score = 0.7
    return opened


@pytest.mark.parametrize("check", ['"score < 0.99"', '"contradiction < 0.5"'])
def test_a_planner_that_reads_texts_steers_no_action(desk: Open, check: str) -> None:
    opened = tainting(desk, check)
    plan = {"plan": {"parallel": ["cheap", "strong"]}}
    followed, refused = opened.decide(plan, {"plan": {"ask": "secret"}})
    assert selection_of(followed).planning == "followed"
    assert (followed.outcome, followed.action) == ("review", "")
    assert followed.taint == ("outside_text",)
    if "contradiction" not in check:
        # One model alone is no agreement, and nobody steered the plan of the file.
        assert (refused.outcome, refused.action) == ("block", "hold")


def test_a_verifier_vouches_for_what_was_planned(desk: Open) -> None:
    opened = tainting(desk, '{rule: "score < 0.99", verifies: true}')
    (decision,) = opened.decide(STRONG)
    assert (decision.outcome, decision.action, decision.taint) == ("block", "hold", ())


def test_choices_repeat(desk: Open) -> None:
    plans = [STRONG, BOTH, {"plan": {"ask": "secret"}}, {"plan": "{"}]
    first, second = (
        [selection_of(one) for one in desk().decide(*plans)],
        [selection_of(one) for one in desk().decide(*plans)],
    )
    assert first == second


@pytest.mark.parametrize(
    ("said", "planning"), [(STRONG, "followed"), ({"plan": {"ask": "secret"}}, "model_not_allowed")]
)
def test_a_parked_event_goes_on_by_the_recorded_answer(
    desk: Open, said: object, planning: str
) -> None:
    before, after = desk(), desk()
    before.conductor.driver = driving(before, unheard=frozenset({"strong", "cheap"}))
    before.strategist.says = [said]
    parked, _ = before.batch([before.letter()], halfway=True)
    assert not parked.decisions
    after.lot = before.lot
    after.strategist.says = [BOTH]
    (question,) = after.revived()
    (decision,) = after.answer(question)
    assert selection_of(decision).planning == planning
    assert not after.strategist.rows, "who has planned is not asked again"
    assert not after.models["reader"].rows
    assert {one.name: one.model for one in decision.answers}["strategist"] == "strategist@0"


def test_a_parked_event_does_not_go_on_beyond_what_is_allowed_by_now(desk: Open) -> None:
    before, after = desk(), desk("price: 0.02 EUR", "price: 0.005 EUR")
    before.conductor.driver = driving(before, unheard=frozenset({"strong"}))
    before.strategist.says = [STRONG]
    before.batch([before.letter()], halfway=True)
    after.lot = before.lot
    (decision,) = after.answer(after.revived()[0])
    assert selection_of(decision).planning == "over_price"
    assert not after.models["strong"].rows


def test_what_was_planned_stands_in_the_record_of_an_event_whose_time_is_over(desk: Open) -> None:
    opened = desk()
    opened.conductor.driver = driving(opened, unheard=frozenset({"strong"}))
    opened.strategist.says = [STRONG]
    opened.batch([opened.letter()], halfway=True)
    opened.now_ms = 60_000
    (decision,) = opened.batch([])[0].decisions
    assert (decision.outcome, decision.reasons[0]) == ("review", "model_late")
    assert selection_of(decision).proposal == '{"ask":"strong"}'


def test_however_long_a_proposal_is_little_of_it_is_parked(desk: Open) -> None:
    opened = desk()
    opened.conductor.driver = driving(opened, unheard=frozenset({"cheap"}))
    opened.strategist.says = [{"plan": {"ask": "x" * 1_000_000}}]
    opened.batch([opened.letter()], halfway=True)
    (step,) = opened.lot.waiting("model")
    assert len(step.payload) < 2_000


def test_a_proposed_plan_may_ask_a_person(desk: Open) -> None:
    opened = desk()
    opened.strategist.says = [
        {"plan": {"cascade": ["cheap", "analyst"], "stop": "confidence > 0.95"}}
    ]
    parked, _ = opened.batch([opened.letter()])
    assert not parked.decisions
    (case,) = parked.cases
    assert opened.lot.counts()["human"] == 1
    answer = StepAnswer(case.case_id, case.step_id, "analyst", 0.2, None, "ada: fine", 5_000)
    (decision,) = opened.batch([answer])[0].decisions
    assert selection_of(decision).planning == "followed"
    assert asked_in(decision) == {"strategist", "cheap", "analyst"}
    assert len(opened.strategist.rows) == 1


def test_an_evaluation_waits_for_no_person_whom_a_planner_asks(desk: Open) -> None:
    opened = desk()
    loaded, models = without_people(opened.on_disk.loaded, opened.models)
    opened.conductor = Conductor(
        loaded.pipeline,
        {**models, "strategist": opened.strategist},
        NoReasons(),
        loaded.deciding,
    )
    (decision,) = opened.decide({"plan": {"fallback": [{"ask": "analyst"}, "strong"]}})
    told = {answer.name: answer.failure for answer in decision.answers}
    assert told == {"strategist": "", "analyst": "timeout", "strong": ""}
    assert selection_of(decision).planning == "followed"
