"""What training needs to know of the fraud pipeline while it runs without a file at hand.

`pipeline.yaml` beside this is the pipeline; a test holds both to the same windows and rules.
"""

from typing import Final

from batuta.schemas.pipeline import Escalation, Pipeline, Source, WindowFeature
from batuta.schemas.pipeline_rules import by_score

__all__ = ["BLOCK_FROM", "FRAUD", "REVIEW_FROM"]

#: From which score on a person looks, and from which nobody does.
REVIEW_FROM: Final = 0.05
BLOCK_FROM: Final = 0.6

FRAUD: Final = Pipeline(
    name="fraud",
    version=1,
    source=Source(id_field="transaction_id", key_field="card_id", time_field="event_time"),
    scoring_key_field="terminal_id",
    ingestion_windows=(WindowFeature(name="card", by="card_id", mean_of="amount"),),
    scoring_windows=(WindowFeature(name="terminal", by="terminal_id"),),
    decide=by_score(REVIEW_FROM, BLOCK_FROM),
    escalation=Escalation(queue="fraud_review"),
)
