"""The pipeline: what a stream of events is, what is understood of it, and how it is decided.

Frozen pydantic models that refuse unknown keys: what `batuta.agents.compiler` makes of a pipeline
file, and all that the stages need to know of it.
"""

from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from batuta.schemas.pipeline_rules import (
    ContextFeature,
    LabelRule,
    NotifyRule,
    Rule,
    ShareFeature,
    by_score,
)
from batuta.schemas.times import EARLIEST_MS, LATEST_MS

__all__ = [
    "Duplicates",
    "Escalation",
    "Lateness",
    "Parking",
    "Pipeline",
    "Source",
    "WindowFeature",
]

_DAY_MS: Final = 86_400_000
_YEAR_MS: Final = 366 * _DAY_MS
#: What the dead letter topic takes with its headers: a value above it could not be kept.
_VALUE_BYTES_MAX: Final = 24 * 1_048_576
FieldName = Annotated[str, Field(min_length=1, max_length=128)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Duplicates(_Part):
    """Within which horizon a redelivery is recognised; the smaller of the two bounds holds.

    Ids are remembered where their key's partition is: an id that comes again under another key,
    in another partition, is another event.
    """

    within_ms: int = Field(default=7 * _DAY_MS, gt=0, le=_YEAR_MS)
    entries_max: int = Field(
        default=1_000_000, gt=0, le=100_000_000, description="ids remembered per lane"
    )


class Lateness(_Part):
    """How far out of order events may come, and what becomes of one that comes later still.

    A lane's watermark is the latest event time it has seen less `allowed_ms`; an event from before
    it is late.
    """

    allowed_ms: int = Field(default=3_600_000, ge=0, le=_YEAR_MS)
    idle_ms: int = Field(
        default=10_000, gt=0, le=_YEAR_MS, description="a lane silent for longer holds nobody back"
    )
    rule: Literal["accept", "aside", "drop"] = Field(
        default="accept", description="aside: to the topic of late events; drop: counted only"
    )


class Source(_Part):
    """Where events come from and which of their fields mean what.

    >>> Source(id_field="transaction_id", key_field="card_id", time_field="event_time").strict
    False
    """

    id_field: FieldName | None = Field(default=None, description="else ce_source + ce_id")
    key_field: FieldName
    time_field: FieldName
    strict: bool = Field(default=False, description="refuse unknown fields instead of ignoring")
    value_bytes_max: int = Field(default=1_048_576, gt=0, le=_VALUE_BYTES_MAX)
    earliest_ms: int = Field(
        default=0, ge=EARLIEST_MS, le=LATEST_MS, description="an event before this is absurd"
    )
    ahead_ms_max: int = Field(
        default=_DAY_MS, gt=0, le=_YEAR_MS, description="further ahead of now is absurd"
    )
    duplicates: Duplicates = Duplicates()
    lateness: Lateness = Lateness()

    @classmethod
    def of_labels(cls, rule: LabelRule) -> "Source":
        """Return how feedback is read: as events whose id and key are those they speak of."""
        return cls(id_field=rule.id_field, key_field=rule.id_field, time_field=rule.time_field)


class WindowFeature(_Part):
    """Count, and the mean of one field, over trailing windows (t - w, t] of event time.

    >>> WindowFeature(name="card", by="card_id", windows_ms=(86_400_000,)).mean_of is None
    True
    """

    name: Name
    by: FieldName = Field(description="the field whose windows these are")
    windows_ms: tuple[Annotated[int, Field(gt=0, le=_YEAR_MS)], ...] = Field(
        default=(_DAY_MS, 7 * _DAY_MS, 30 * _DAY_MS), min_length=1, max_length=16
    )
    mean_of: FieldName | None = None
    counts_ms: tuple[int, ...] | None = Field(
        default=None, description="of which windows the count is a feature; else of all"
    )
    means_ms: tuple[int, ...] | None = Field(
        default=None, description="of which windows the mean is a feature; else of all"
    )

    @model_validator(mode="after")
    def _ascending(self) -> "WindowFeature":
        if any(width >= wider for width, wider in pairwise(self.windows_ms)):
            raise ValueError(f"windows_ms must ascend, but are {self.windows_ms}")
        return self


class Escalation(_Part):
    """Who reviews, and within what time."""

    queue: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
    due_ms: int = Field(default=1_800_000, gt=0, le=_YEAR_MS)


class Parking(_Part):
    """How long an event waits for a model that is slow, and how many may wait in one lane.

    A lane that has parked so many reads no further events until there is room. It takes several
    batches of the largest size: a model that hangs parks whole ones.
    """

    deadline_ms: int = Field(default=10_000, gt=0, le=_YEAR_MS)
    steps_max: int = Field(default=40_000, gt=0, le=1_000_000)


class Pipeline(_Part):
    """One pipeline, whole.

    >>> pipeline = Pipeline(
    ...     name="fraud",
    ...     version=1,
    ...     source=Source(id_field="transaction_id", key_field="card_id", time_field="event_time"),
    ...     scoring_key_field="terminal_id",
    ...     ingestion_windows=(WindowFeature(name="card", by="card_id", mean_of="amount"),),
    ...     scoring_windows=(WindowFeature(name="terminal", by="terminal_id"),),
    ...     escalation=Escalation(queue="fraud_review"),
    ... )
    >>> pipeline.decide[-1].outcome
    'approve'
    """

    name: Name
    version: int = Field(ge=1)
    source: Source
    scoring_key_field: FieldName = Field(
        description="the key of .ingested, whose state scoring holds"
    )
    ingestion_windows: tuple[WindowFeature, ...] = Field(default=(), max_length=16)
    scoring_windows: tuple[WindowFeature, ...] = Field(default=(), max_length=16)
    decide: tuple[Rule, ...] = Field(default=by_score(0.6, 0.95), min_length=1)
    notify: tuple[NotifyRule, ...] = ()
    escalation: Escalation
    parking: Parking = Parking()
    context: tuple[ContextFeature, ...] = ()
    shares: tuple[ShareFeature, ...] = ()
    labels: LabelRule | None = None
