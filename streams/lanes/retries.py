"""What becomes of a batch the outside world would not let through.

A pure rule, readable as a table:

    the record itself is refused for good, batch of many        split it, find the record
    the record itself is refused for good, alone                dead letter
    anything else, attempts left                                retry with backoff
    anything else, no attempts left, batch of many              split it, find the record
    anything else, no attempts left, alone                      dead letter
    an output too large, where no record is to be given up      dead letter of the output
    anything else, where no record is to be given up            retry with backoff, for ever
"""

from dataclasses import dataclass
from typing import Final

from batuta.schemas.errors import LaterError, OutputRefusedError, SinkUnavailableError
from batuta.streams.lanes.flights import Part
from batuta.streams.settings import Settings

__all__ = [
    "BuryOutputsIt",
    "DeadLetterIt",
    "RetryIt",
    "SplitIt",
    "Step",
    "next_step",
    "restart_backoff_ms",
]

#: Doubling ends here, far beyond any backoff that settings allow.
_DOUBLINGS_MAX: Final = 30


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


@dataclass(frozen=True, slots=True)
class BuryOutputsIt:
    """Give up what it writes to a topic that is at least as large as what was refused there.

    Unless the topic takes that: then it is tried again.
    """

    topic: str
    size_bytes: int


Step = RetryIt | SplitIt | DeadLetterIt | BuryOutputsIt


def next_step(error: LaterError, attempt: int, part: Part, settings: Settings) -> Step:
    """Say what to do after attempt number `attempt` (from 1) at a part failed."""
    if not _is_final(error) and attempt < settings.retry_attempts_max:
        return RetryIt(restart_backoff_ms(attempt - 1, settings))
    if part.splits:
        return SplitIt()
    if not part.gives_up:
        if isinstance(error, OutputRefusedError) and error.size_bytes:
            return BuryOutputsIt(error.topic, error.size_bytes)
        return RetryIt(restart_backoff_ms(attempt - 1, settings))
    return DeadLetterIt(_reason(error))


def restart_backoff_ms(restarts: int, settings: Settings) -> int:
    """Return how long to wait after `restarts` (from 0) failures in a row."""
    backoff_ms = settings.retry_backoff_ms << min(restarts, _DOUBLINGS_MAX)
    return min(backoff_ms, settings.retry_backoff_ms_max)


def _is_final(error: LaterError) -> bool:
    if isinstance(error, OutputRefusedError | SinkUnavailableError):
        return not error.retriable
    return False


def _reason(error: LaterError) -> str:
    match error:
        case OutputRefusedError():
            return "output_refused"
        case SinkUnavailableError():
            return "sink_unavailable"
        case _:
            return "gave_up"
