"""The fraud pipeline as declared: keys, windows, thresholds, and who reviews.

The source is keyed by card, so ingestion knows each card's habits; scoring is keyed by terminal, so
it sees what a terminal has taken from all cards.
"""

from typing import Final

from batuta.schemas.pipeline import Escalation, Pipeline, Source, Thresholds, WindowFeature

__all__ = ["FRAUD", "RECIPE"]

#: Raise it whenever the sample model would come out differently: its generator, its inputs.
RECIPE: Final = 2

FRAUD: Final = Pipeline(
    name="fraud",
    version=1,
    source=Source(id_field="transaction_id", key_field="card_id", time_field="event_time"),
    scoring_key_field="terminal_id",
    ingestion_windows=WindowFeature(name="card", by="card_id", mean_of="amount"),
    scoring_windows=WindowFeature(name="terminal", by="terminal_id"),
    thresholds=Thresholds(review=0.05, block=0.6),
    escalation=Escalation(queue="fraud_review"),
)
