"""The review case: a decision that a person should look at. Version 2, for the decision's own."""

from dataclasses import dataclass
from typing import Final

from batuta.schemas.decision import Decision

__all__ = ["REVIEW_CASE_VERSION", "ReviewCase"]

REVIEW_CASE_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class ReviewCase:
    """One case on `.escalations`, keyed by its id.

    Attributes:
        case_id: stable over retry and replay: a digest of tenant, pipeline and event id.
        queue: the reviewers it is for.
        opened_at_ms, due_at_ms: milliseconds since 1970 UTC.
        decision: the record that asked for the review.
    """

    case_id: str
    queue: str
    opened_at_ms: int
    due_at_ms: int
    decision: Decision
