"""How a model is guarded: the keys of an entry under `models` that bound what it may cost others.

A model that a server answers for has a breaker and a bulkhead even where the file names none.
"""

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.pipeline_file.quantities import Duration, Percentage, duration_text

__all__ = ["BreakerEntry", "BulkheadEntry", "GuardedEntry", "RetryEntry", "guard_fault"]

_CALLS_MAX: Final = 65_536


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class BreakerEntry(_Entry):
    """When a model that fails is left alone: not asked, so that its plan goes on at once."""

    failures: Annotated[Percentage, Field(gt=0)] = Field(
        default=0.5, description="of the calls within the window; from there on it opens"
    )
    over: Duration = Field(default=30_000, description="the window")
    calls: Annotated[int, Field(strict=True, ge=1, le=_CALLS_MAX)] = Field(
        default=20, description="fewer calls within the window say nothing"
    )
    open: Duration = Field(default=10_000, description="the rest, before one call tries again")


class BulkheadEntry(_Entry):
    """How many calls of a model may be open; the next one fails as `overloaded`."""

    calls: Annotated[int, Field(strict=True, ge=1, le=_CALLS_MAX)] = Field(
        default=64, description="under way at once"
    )
    queue: Annotated[int, Field(strict=True, ge=0, le=_CALLS_MAX)] = Field(
        default=256, description="waiting for one of these to end"
    )


class RetryEntry(_Entry):
    """How often a call that may end otherwise is made again; a tenth of the load at most."""

    times: Annotated[int, Field(strict=True, ge=1, le=10)] = Field(
        default=2, description="after the first, at most"
    )
    wait: Duration = Field(
        default=50, description="the longest wait before the first time; then twice as long each"
    )


class GuardedEntry(_Entry):
    """The keys of a model that is guarded."""

    breaker: BreakerEntry | None = Field(
        default=None, description="when it is left alone; a served model has one in any case"
    )
    bulkhead: BulkheadEntry | None = Field(
        default=None, description="how many calls may be open; a served model has one in any case"
    )
    retry: RetryEntry | None = Field(
        default=None, description="how often it is asked again after a failure; else never"
    )
    hedge: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="a call slower than 95 of 100 is made a second time"
    )


def guard_fault(entry: GuardedEntry, timeout_ms: int) -> str | None:
    """Return what is wrong with an entry in view of its timeout; what to do; None if nothing."""
    breaker = entry.breaker
    if breaker is not None and breaker.over < timeout_ms:
        over, timeout = duration_text(breaker.over), duration_text(timeout_ms)
        return f"its breaker looks back {over} and never sees a timeout of {timeout}; raise over"
    return None
