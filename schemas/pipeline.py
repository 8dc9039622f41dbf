"""The pipeline: what a stream of events is, what is understood of it, and how it is decided.

Frozen pydantic models that refuse unknown keys. Shipped pipelines declare one in
`batuta.agents.<name>.pipeline`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Duplicates", "Escalation", "Pipeline", "Source", "Thresholds", "WindowFeature"]

_DAY_MS = 86_400_000
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Duplicates(_Part):
    """Within which horizon a redelivery is recognised; the smaller of the two bounds holds."""

    within_ms: int = Field(default=7 * _DAY_MS, gt=0)
    entries_max: int = Field(default=1_000_000, gt=0, description="ids remembered per lane")


class Source(_Part):
    """Where events come from and which of their fields mean what."""

    id_field: str | None = Field(default=None, description="else ce_source + ce_id")
    key_field: str
    time_field: str
    strict: bool = Field(default=False, description="refuse unknown fields instead of ignoring")
    value_bytes_max: int = Field(default=1_048_576, gt=0)
    earliest_ms: int = Field(default=0, description="an event before this is absurd")
    ahead_ms_max: int = Field(default=_DAY_MS, gt=0, description="how far ahead of now is absurd")
    duplicates: Duplicates = Duplicates()


class WindowFeature(_Part):
    """Count, and the mean of one field, over trailing windows (t - w, t] of event time."""

    name: Name
    by: str = Field(description="the field whose windows these are")
    windows_ms: tuple[int, ...] = (_DAY_MS, 7 * _DAY_MS, 30 * _DAY_MS)
    mean_of: str | None = None


class Thresholds(_Part):
    """From which score on an event is reviewed, and from which it is blocked."""

    review: float = Field(default=0.6, ge=0, le=1)
    block: float = Field(default=0.95, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> "Thresholds":
        if self.review > self.block:
            message = f"review ({self.review}) must not be above block ({self.block})"
            raise ValueError(message)
        return self


class Escalation(_Part):
    """Who reviews, and within what time."""

    queue: Name
    due_ms: int = Field(default=1_800_000, gt=0)


class Pipeline(_Part):
    """One pipeline, whole."""

    name: Name
    version: int = Field(ge=1)
    source: Source
    scoring_key_field: str = Field(description="the key of .ingested, whose state scoring holds")
    ingestion_windows: WindowFeature
    scoring_windows: WindowFeature
    thresholds: Thresholds = Thresholds()
    escalation: Escalation
