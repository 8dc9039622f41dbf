"""What becomes of attempts to correct answers that a checkpoint has not let pass."""

from collections.abc import Mapping
from dataclasses import dataclass

from batuta.schemas.decision import Corrected
from batuta.streams.telemetry.facts import Scribe

__all__ = ["AnswersCorrected"]


@dataclass(frozen=True, slots=True)
class AnswersCorrected:
    """Remedies were tried, or left out.

    Attributes:
        attempts: by class of failure, remedy and result.
    """

    attempts: Mapping[tuple[str, str, Corrected], int]

    def tell(self, scribe: Scribe) -> None:
        """Count them."""
        for (reason, remedy, result), count in self.attempts.items():
            scribe.meters.corrections.add(count, reason, remedy, result)
