"""The dead letter: a record no stage could accept, its bytes and headers untouched.

Or an output of a stage that its topic did not take, its value cut: no stage can read that again.

Key, value and headers are the original's; what batuta says of it stands in headers of its own,
all under `batuta-deadletter-`, so that redriving is copying the record without them. Version 1.
"""

from dataclasses import dataclass
from typing import Final

from batuta.schemas.record import Record

__all__ = ["DEAD_LETTER_PREFIX", "DEAD_LETTER_VERSION", "UNWRITTEN", "DeadLetter"]

DEAD_LETTER_VERSION: Final = 1
DEAD_LETTER_PREFIX: Final = "batuta-deadletter-"
#: The offset of an output that was never written.
UNWRITTEN: Final = -1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused record.

    Attributes:
        record: the original, byte for byte.
        stage: which stage refused it.
        reason: stable snake_case code; path: where in the event; detail: one sentence for people.
        attempts: how often it was tried, 1 for bad input.
        refused_at_ms: milliseconds since 1970 UTC.
    """

    record: Record
    stage: str
    reason: str
    detail: str
    refused_at_ms: int
    path: str = ""
    attempts: int = 1

    @property
    def is_output(self) -> bool:
        """Whether it is what the stage would have written, not what it read."""
        return self.record.offset == UNWRITTEN
