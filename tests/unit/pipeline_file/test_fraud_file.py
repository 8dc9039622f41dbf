"""The shipped file is what training believes it to be, and computes what training computes."""

from __future__ import annotations

import numpy as np

from batuta.agents.fraud.features import FraudFeatures
from batuta.agents.fraud.pipeline import BLOCK_FROM, FRAUD, REVIEW_FROM
from batuta.agents.fraud.training import INPUTS
from batuta.agents.fraud.training_history import HISTORY_INPUTS, TERMINAL_RISK
from batuta.schemas.ingested import Ingested
from batuta.schemas.pipeline_rules import by_score
from batuta.schemas.times import rfc3339
from batuta.streams.pipelines.finding import PIPELINES

SHIPPED = PIPELINES["fraud"]


def test_the_file_and_training_know_the_same_pipeline() -> None:
    pipeline = SHIPPED.pipeline
    assert pipeline.ingestion_windows == FRAUD.ingestion_windows
    assert pipeline.scoring_windows == FRAUD.scoring_windows
    assert pipeline.scoring_key_field == FRAUD.scoring_key_field
    assert (pipeline.name, pipeline.version) == (FRAUD.name, FRAUD.version)
    assert (pipeline.source, pipeline.escalation) == (FRAUD.source, FRAUD.escalation)
    assert pipeline.shares == (TERMINAL_RISK,)
    seen = SHIPPED.plan.inputs["forest"]
    assert [name for name in seen if name in INPUTS] == [*INPUTS]
    assert [name for name in seen if name in HISTORY_INPUTS] == [*HISTORY_INPUTS]
    assert {*seen} == {*INPUTS, *HISTORY_INPUTS}


def test_the_rules_are_the_thresholds_that_training_measures() -> None:
    rules = [rule.model_copy(update={"action": None}) for rule in SHIPPED.pipeline.decide]
    assert tuple(rules) == by_score(REVIEW_FROM, BLOCK_FROM)
    assert [rule.action for rule in SHIPPED.pipeline.decide] == ["block_card", None, None]


def test_the_expressions_are_the_features_that_training_computes() -> None:
    times_ms = np.arange(0, 15 * 86_400_000, 1_234_567, dtype=np.int64)
    amounts = np.linspace(0.5, 900.0, len(times_ms))
    events = [
        Ingested(
            event_id=f"tx-{number}",
            entity="c1",
            scoring_key="t1",
            event_time_ms=time_ms,
            published_ms=0,
            tenant="default",
            data={"amount": amount, "event_time": rfc3339(time_ms)},
            features={},
        )
        for number, (time_ms, amount) in enumerate(
            zip(times_ms.tolist(), amounts.tolist(), strict=True)
        )
    ]
    understood = SHIPPED.plan.understanding.complete(events, {})
    computed = understood.matrix(FraudFeatures.names)
    assert np.array_equal(computed, FraudFeatures().of_arrays(times_ms, amounts))
    assert not understood.failed.any()
