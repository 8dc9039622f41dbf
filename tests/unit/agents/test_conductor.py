"""The conductor decides every event, and nothing but a verified score ever approves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest

from batuta.agents.conductor import SCORE_UNKNOWN, Conductor
from batuta.agents.conductor_testing import decided
from batuta.agents.context import Context
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.plans import Ask, Fallback, Sequence
from batuta.agents.delegation.terms import Terms
from batuta.agents.judging import Deciding
from batuta.agents.models.answers import Answers
from batuta.agents.reasons import NoReasons
from batuta.agents.selection.choosing import Only
from batuta.schemas.decision import ModelAnswer, Selection
from batuta.schemas.errors import LaterError, SinkUnavailableError, UsageError
from batuta.schemas.ingested import Ingested
from batuta.schemas.partition import PartitionOf
from batuta.schemas.pipeline import Escalation, Pipeline, Source, WindowFeature
from batuta.schemas.pipeline_rules import by_score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Sequence as Many

    from batuta.agents.delegation.plans import Node
    from batuta.agents.models.port import Matrix, Scores
    from batuta.agents.policy.names import Rows
    from batuta.schemas.decision import Decision

PARCELS = Pipeline(
    name="parcels",
    version=3,
    source=Source(id_field="parcel", key_field="sender", time_field="at"),
    scoring_key_field="depot",
    ingestion_windows=(WindowFeature(name="sender", by="sender", windows_ms=(60_000,)),),
    scoring_windows=(WindowFeature(name="depot", by="depot", windows_ms=(60_000,)),),
    decide=by_score(0.5, 0.9),
    escalation=Escalation(queue="dispatch"),
)
INPUTS = ("depot_count_1m", "sender_count_1m")


@dataclass
class Scales:
    """A model that answers as a test tells it."""

    reply: Callable[[Matrix], Scores | Answers]
    inputs: tuple[str, ...] = INPUTS
    name: str = "scales"
    version: str = "scales@0123456789ab"
    asked: list[Matrix] = field(default_factory=list["Matrix"])

    async def answer(self, inputs: Matrix) -> Scores | Answers:
        self.asked.append(inputs)
        return self.reply(inputs)


class Heavy(NoReasons):
    def codes_of(self, features: Mapping[str, float]) -> tuple[str, ...]:
        return ("heavy",) if features["sender_count_1m"] > 5 else ()


def scoring(*scores: float) -> Scales:
    return Scales(lambda _: np.array(scores))


def parcel(number: int, depot: str = "d1", tenant: str = "default") -> Ingested:
    return Ingested(
        event_id=f"p{number}",
        entity="s1",
        scoring_key=depot,
        event_time_ms=1_000 + number,
        published_ms=7,
        tenant=tenant,
        data={"parcel": f"p{number}", "weight": 2.5},
        features={"sender_count_1m": float(number)},
    )


def decide(model: Scales, *events: Ingested, told: list[Exception] | None = None) -> list[Decision]:
    heard: list[Exception] = [] if told is None else told
    conductor = Conductor(PARCELS, model, Heavy(), report=heard.append)
    state = conductor.open_state()
    state.begin()
    context = Context(5_000, 0, PartitionOf(1), state)
    return asyncio.run(decided(conductor, events, context))


def test_thresholds_decide_and_reasons_say_why() -> None:
    events = [parcel(n) for n in (1, 2, 3, 9, 5)]
    decisions = decide(scoring(0.1, 0.5, 0.899, 0.9, 1.0), *events)
    assert [d.outcome for d in decisions] == ["approve", "review", "review", "block", "block"]
    assert [d.reasons for d in decisions] == [
        ("score_low",),
        ("score_high",),
        ("score_high",),
        ("score_very_high", "heavy"),
        ("score_very_high",),
    ]
    assert [d.event_id for d in decisions] == [e.event_id for e in events]


def test_a_decision_is_enough_to_explain_itself() -> None:
    decision = decide(scoring(0.25, 0.75), parcel(1), parcel(2))[1]
    assert decision.features == {"depot_count_1m": 2.0, "sender_count_1m": 2.0}
    assert decision.input_sha256 == sha256(orjson.dumps(parcel(2).data)).hexdigest()
    assert (decision.pipeline, decision.pipeline_version) == ("parcels", 3)
    assert (decision.model, decision.score) == ("scales@0123456789ab", 0.75)
    assert (decision.entity, decision.tenant) == ("s1", "default")
    assert (decision.event_time_ms, decision.decided_at_ms, decision.published_ms) == (
        1_002,
        5_000,
        7,
    )


def test_the_model_sees_its_inputs_in_its_own_order_once_per_batch() -> None:
    model = scoring(0.0, 0.0, 0.0)
    decide(model, parcel(4), parcel(5, depot="d2"), parcel(6))
    assert len(model.asked) == 1
    assert model.asked[0].tolist() == [[1.0, 4.0], [1.0, 5.0], [2.0, 6.0]]


def test_tenants_share_no_windows() -> None:
    model = scoring(0.0, 0.0)
    decide(model, parcel(1), parcel(2, tenant="other"))
    assert [row[0] for row in model.asked[0].tolist()] == [1.0, 1.0]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), -0.001, 1.001])
def test_an_answer_that_is_no_score_goes_to_a_person_and_leaves_its_neighbours_alone(
    score: float,
) -> None:
    decisions = decide(scoring(0.1, score, 0.95), parcel(1), parcel(2), parcel(3))
    assert [d.outcome for d in decisions] == ["approve", "review", "block"]
    assert decisions[1].reasons == ("model_answer_invalid",)
    assert decisions[1].score == SCORE_UNKNOWN


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (2, 1)])
def test_too_few_or_too_many_answers_are_no_answers(shape: tuple[int, ...]) -> None:
    decisions = decide(Scales(lambda _: np.zeros(shape)), parcel(1), parcel(2))
    assert [d.reasons[0] for d in decisions] == ["model_answer_invalid"] * 2
    assert [d.outcome for d in decisions] == ["review"] * 2


def test_a_model_that_breaks_sends_its_events_to_people_and_is_told_of() -> None:
    def breaks(inputs: Matrix) -> Scores:
        raise ZeroDivisionError(inputs.shape)

    told: list[Exception] = []
    decisions = decide(Scales(breaks), parcel(1), parcel(9), told=told)
    assert [d.outcome for d in decisions] == ["review", "review"]
    assert [d.reasons for d in decisions] == [("model_failed",), ("model_failed", "heavy")]
    assert [type(failure) for failure in told] == [ZeroDivisionError]


def test_a_model_whose_outside_world_failed_may_be_asked_again() -> None:
    def unreachable(inputs: Matrix) -> Scores:
        raise SinkUnavailableError(f"{len(inputs)} rows")

    with pytest.raises(LaterError):
        decide(Scales(unreachable), parcel(1))


def test_a_model_that_wants_an_unknown_feature_stops_the_start_with_its_name() -> None:
    model = Scales(lambda _: np.zeros(1), inputs=("depot_count_1m", "moon"))
    with pytest.raises(UsageError, match=r"moon.*depot_count_1m"):
        Conductor(PARCELS, model, NoReasons())


def test_a_fallback_answers_is_marked_and_what_each_model_said_stands_in_the_record() -> None:
    cheap = Scales(lambda rows: np.full(len(rows), np.nan), name="cheap", version="cheap@1")
    strong = Scales(
        lambda rows: np.full(len(rows), 0.95),
        inputs=("sender_count_1m", "cheap.score"),
        name="strong",
        version="strong@1",
    )
    plan = Fallback((Ask("cheap"), Ask("strong")))
    terms = {"strong": Terms(price_nano=800_000, currency="EUR")}
    deciding = Deciding(delegating=Delegating({"careful": plan}, Only("careful"), terms))
    conductor = Conductor(PARCELS, {"cheap": cheap, "strong": strong}, Heavy(), deciding)
    state = conductor.open_state()
    state.begin()
    context = Context(5_000, 0, PartitionOf(1), state)
    (decision,) = asyncio.run(decided(conductor, [parcel(1)], context))
    assert (decision.outcome, decision.model, decision.fallback) == ("block", "strong@1", True)
    assert decision.selection == Selection(
        "careful", "only", "there is no other plan", 1.0, {"careful": 1.0}
    )
    assert decision.answers == (
        ModelAnswer("cheap", "cheap@1", None, None, "invalid"),
        ModelAnswer("strong", "strong@1", 0.95, 0.95, "", 0, 800_000, "EUR"),
    )
    assert np.isnan(strong.asked[0][0, 1]), "the second saw what the first had answered"


class ByNumber:
    """Lets the second parcel go by the plan `deep`, all others by `fast`."""

    names: frozenset[str] = frozenset()

    def choose(self, events: Many[Ingested], rows: Rows) -> list[Selection]:
        del rows
        plans = ("deep" if event.event_id == "p2" else "fast" for event in events)
        return [Selection(plan, "rules", "as the test says", 1.0, {plan: 1.0}) for plan in plans]


def test_what_models_say_stands_in_the_record_in_the_order_in_which_its_plan_asks() -> None:
    """Neither who else is in the batch nor who answers first changes a record."""
    long = "x" * 3_000

    def reads(rows: Matrix) -> Answers:
        return Answers(np.full(len(rows), 0.2), values=[{"language": "de"}] * len(rows))

    def writes(rows: Matrix) -> Answers:
        return Answers(np.full(len(rows), 0.3), values=[long] * len(rows))

    models = {
        "writer": Scales(writes, name="writer", version="writer@1"),
        "reader": Scales(reads, name="reader", version="reader@1"),
    }
    plans: dict[str, Node] = {
        "deep": Sequence((Ask("reader"), Ask("writer"))),
        "fast": Ask("writer"),
    }
    deciding = Deciding(delegating=Delegating(plans, ByNumber()))
    conductor = Conductor(PARCELS, models, Heavy(), deciding)
    state = conductor.open_state()
    told: list[Decision] = []
    for events in ([parcel(2)], [parcel(1), parcel(2)]):
        state.begin()
        context = Context(5_000, 0, PartitionOf(1), state)
        told.append(asyncio.run(decided(conductor, events, context))[-1])
        state.changes(0)
        state.commit()
    for decision in told:
        assert decision.model == "reader@1+writer@1"
        assert [(one.name, one.value) for one in decision.answers] == [
            ("reader", {"language": "de"}),
            ("writer", f'"{"x" * 1_999}…'),
        ]


def test_nothing_is_decided_of_nothing_and_no_model_is_asked() -> None:
    model = scoring()
    assert decide(model) == []
    assert model.asked == []
