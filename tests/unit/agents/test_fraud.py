"""The fraud pipeline: a believable world, repeatable, and a model that finds its thieves."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest

from batuta.agents.conductor import Conductor
from batuta.agents.conductor_testing import decided as decided_alone
from batuta.agents.context import Context
from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.generator import CardPlan, CardWorld, fraud_samples
from batuta.agents.fraud.reasons import FraudReasons
from batuta.agents.fraud.training import INPUTS, features_of, train
from batuta.agents.ingestion import Ingestion
from batuta.schemas.codec import EventCodec
from batuta.schemas.fraud import FraudLabel, Transaction
from batuta.schemas.partition import PartitionOf
from batuta.schemas.record import Record
from batuta.streams.adapters.onnx import OnnxModel
from batuta.streams.pipelines.finding import PIPELINES

if TYPE_CHECKING:
    from batuta.agents.models.card import TrainedModel
    from batuta.agents.models.port import Matrix, Model, Scores
    from batuta.agents.samples import SampleEvent
    from batuta.schemas.decision import Decision

NOW_MS = 1_795_000_000_000
#: A world's first day is a Thursday, as the first of 1970 was.
THURSDAY_MS = 2_800 * 7 * 86_400_000
FRAUD = PIPELINES["fraud"]


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return FRAUD.trainer.train(FRAUD.plan)


class Listener:
    """A model that keeps what it is asked, and finds nothing wrong with it."""

    def __init__(self) -> None:
        self.name, self.version, self.inputs = "listener", "listener@000000000000", INPUTS
        self.asked: list[Matrix] = []

    async def answer(self, inputs: Matrix) -> Scores:
        self.asked.append(inputs)
        return np.zeros(len(inputs))


def samples(seed: int, events: int) -> list[SampleEvent]:
    return list(islice(fraud_samples(seed, NOW_MS), events))


def decided(model: Model, events: list[SampleEvent]) -> list[Decision]:
    """Let ingestion and the conductor decide about events, in batches, with their real state."""
    ingestion, door = Ingestion(FRAUD.pipeline), EventCodec(FRAUD.pipeline.source, FRAUD.data)
    conductor = Conductor(FRAUD.pipeline, model, FRAUD.reasons, FRAUD.deciding)
    cards, terminals, alone = ingestion.open_state(), conductor.open_state(), PartitionOf(1)
    decisions: list[Decision] = []
    for begin in range(0, len(events), 1_000):
        records = [
            Record("fraud.events", 0, begin + n, NOW_MS, event.key.encode(), event.data)
            for n, event in enumerate(events[begin : begin + 1_000])
        ]
        opened = door.decode(records, NOW_MS)
        assert not opened.refused
        cards.begin()
        ingested = ingestion.ingest(opened.events, Context(NOW_MS, 0, alone, cards))
        assert not ingested.refused
        cards.changes(NOW_MS)
        cards.commit()
        terminals.begin()
        context = Context(NOW_MS, 0, alone, terminals)
        decisions += asyncio.run(decided_alone(conductor, ingested.accepted, context))
        terminals.changes(NOW_MS)
        terminals.commit()
    return decisions


def test_most_frauds_are_caught_and_few_honest_payments_are_stopped(trained: TrainedModel) -> None:
    events = samples(seed=7, events=20_000)
    model = OnnxModel.load(trained.data, trained.card)
    decisions = decided(model, events)
    assert [d.event_id for d in decisions] == [event.event_id for event in events]
    fraud = {event.event_id for event in events if event.positive}
    caught = [d for d in decisions if d.outcome != "approve"]
    blocked = [d for d in caught if d.outcome == "block"]
    assert len(fraud) > 100
    assert len(fraud & {d.event_id for d in caught}) > 0.6 * len(fraud)
    assert 0.002 < len(blocked) / len(events) < 0.02
    assert (len(caught) - len(blocked)) / len(events) < 0.06
    assert len(fraud & {d.event_id for d in blocked}) > 0.5 * len(blocked)


def test_the_card_tells_how_well_the_model_did(trained: TrainedModel) -> None:
    assert trained.card.inputs == INPUTS
    assert trained.card.recipe == FRAUD.trainer.recipe
    assert trained.card.metrics["roc_auc"] > 0.97
    assert trained.card.metrics["average_precision"] > 0.7


def test_the_same_seed_trains_the_same_file(trained: TrainedModel) -> None:
    assert train().card == trained.card


def test_training_sees_what_the_live_pipeline_computes() -> None:
    world = CardWorld(CardPlan(5, cards=40, terminals=20))
    day = world.history(5)
    learnt = features_of(day)
    events = list(world.events(day, start_ms=THURSDAY_MS))
    listener = Listener()
    decided(listener, events)
    np.testing.assert_array_equal(np.concatenate(listener.asked), learnt)


def test_samples_are_valid_and_repeatable() -> None:
    events = samples(seed=1, events=500)
    assert events == samples(seed=1, events=500)
    for event in events:
        paid = Transaction.model_validate_json(event.data)
        label = FraudLabel.model_validate_json(event.label)
        assert paid.transaction_id == label.transaction_id == event.event_id
        assert paid.card_id == event.key
        assert label.fraud == event.positive
        assert (label.label_time - paid.event_time).days == 7
        assert paid.event_time.timestamp() * 1_000 < NOW_MS


def test_runs_of_different_seeds_share_no_id_and_no_card() -> None:
    one, other = samples(seed=1, events=2_000), samples(seed=2, events=2_000)
    assert len({event.event_id for event in one + other}) == 4_000
    assert not {event.key for event in one} & {event.key for event in other}


def test_ids_stay_unique_over_the_days() -> None:
    events = samples(seed=3, events=30_000)
    days = {orjson.loads(event.data)["event_time"][:10] for event in events}
    assert len(days) > 3
    assert len({event.event_id for event in events}) == 30_000


def test_a_given_clock_sets_each_events_time() -> None:
    ticks = iter(range(NOW_MS, NOW_MS + 10_000, 1_000))
    events = list(islice(fraud_samples(1, NOW_MS, lambda: next(ticks)), 3))
    times = [orjson.loads(event.data)["event_time"] for event in events]
    assert [time[-14:] for time in times] == ["T11:06:40.000Z", "T11:06:41.000Z", "T11:06:42.000Z"]


def test_a_day_is_in_order_knows_night_from_day_and_every_way_of_fraud() -> None:
    world = CardWorld(CardPlan(7))
    whole = world.history(20)
    hours = whole.times_ms % 86_400_000 // 3_600_000
    assert all(bool(np.all(np.diff(world.day(day).times_ms) >= 0)) for day in range(20))
    assert np.mean(hours < 6) < 0.1
    assert 0.005 < np.mean(whole.fraud > 0) < 0.02
    assert set(whole.fraud.tolist()) == {0, 1, 2, 3}
    assert np.median(whole.amounts[whole.fraud == 1]) > 220


def test_night_and_weekend_are_those_of_utc() -> None:
    friday_2359, saturday_0000 = 1_522_454_340_000, 1_522_454_400_000
    sunday_0659 = saturday_0000 + 31 * 3_600_000 - 60_000
    times = np.array([friday_2359, saturday_0000, sunday_0659, sunday_0659 + 60_000], np.int64)
    rows = FraudFeatures().of_arrays(times, np.arange(1.0, 5.0))
    assert rows[:, 1:].tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]
    assert rows[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_reasons_name_what_stands_out_the_strongest_first_and_have_texts() -> None:
    usual = {
        "amount": 20.0,
        "night": 0.0,
        "card_count_1d": 2.0,
        "card_count_30d": 60.0,
        "card_mean_amount_1d": 20.0,
        "card_mean_amount_30d": 20.0,
        "terminal_count_1d": 4.0,
        "terminal_count_30d": 120.0,
    }
    reasons = FraudReasons()
    assert reasons.codes_of(usual) == ()
    assert reasons.codes_of({**usual, "amount": 240.0}) == (
        "amount_unusual_for_card",
        "large_amount",
    )
    assert reasons.codes_of({**usual, "terminal_count_1d": 40.0, "night": 1.0}) == (
        "terminal_burst",
        "night",
    )
    assert reasons.codes_of({**usual, "card_count_1d": 9.0}) == ("card_burst",)
    assert reasons.codes_of({**usual, "card_count_30d": 1.0, "card_count_1d": 1.0}) == ("new_card",)
    together = (usual, {**usual, "amount": np.nan, "night": 1.0}, {**usual, "amount": 240.0})
    columns = {name: np.array([one[name] for one in together]) for name in usual}
    assert reasons.codes_of_all(columns) == [reasons.codes_of(one) for one in together]
    assert reasons.codes_of(together[1]) == ("night",), "what is no number says nothing"
    assert reasons.codes_of({}) == ()
    assert "terminal" in reasons.text_of("terminal_burst")
    assert "threshold" in reasons.text_of("score_high")
    assert reasons.text_of("never_heard_of") == "never heard of"
