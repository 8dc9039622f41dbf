"""What becomes of a batch the outside world would not let through.

A pure rule, readable as a table:

    the record itself is at fault (too large), batch of many    split it, find the record
    the record itself is at fault, alone                        dead letter
    anything else, attempts left                                retry with backoff
    anything else, no attempts left, batch of many              split it, find the record
    anything else, no attempts left, alone                      dead letter
"""

from dataclasses import dataclass

from batuta.schemas.errors import LaterError, OutputRefusedError, SinkUnavailableError
from batuta.streams.settings import Settings

__all__ = ["DeadLetterIt", "RetryIt", "SplitIt", "Step", "next_step"]


@dataclass(frozen=True, slots=True)
class RetryIt:
    """Try the same records again after a pause."""

    backoff_ms: int


@dataclass(frozen=True, slots=True)
class SplitIt:
    """Try each half by itself."""


@dataclass(frozen=True, slots=True)
class DeadLetterIt:
    """Give this one record up."""

    reason: str


Step = RetryIt | SplitIt | DeadLetterIt


def next_step(error: LaterError, attempt: int, records: int, settings: Settings) -> Step:
    """Say what to do after attempt number `attempt` (from 1) of `records` records failed."""
    hopeless = isinstance(error, OutputRefusedError) and not error.retriable
    if not hopeless and attempt < settings.retry_attempts_max:
        backoff_ms = settings.retry_backoff_ms * 2 ** (attempt - 1)
        return RetryIt(min(backoff_ms, settings.retry_backoff_ms_max))
    return SplitIt() if records > 1 else DeadLetterIt(_reason(error))


def _reason(error: LaterError) -> str:
    match error:
        case OutputRefusedError():
            return "output_refused"
        case SinkUnavailableError():
            return "sink_unavailable"
        case _:
            return "gave_up"
