"""What a pipeline computes, decides and says by expressions: the compiled form of its file."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.decision import Outcome
from batuta.schemas.notification import Severity

__all__ = [
    "ContextFeature",
    "LabelRule",
    "NotifyRule",
    "Rule",
    "ShareFeature",
    "by_score",
    "urgent",
]

_YEAR_MS = 366 * 86_400_000
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
FieldName = Annotated[str, Field(min_length=1, max_length=128)]
Span = Annotated[int, Field(gt=0, le=_YEAR_MS)]
Text = Annotated[str, Field(min_length=1)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ContextFeature(_Rule):
    """A feature that is an expression over the event and what was computed before."""

    name: Code
    expression: Text


class ShareFeature(_Rule):
    """Of the events whose label is known, how many have it set, over (t - delay - w, t - delay].

    >>> ShareFeature(name="risk", by="terminal_id", of="fraud", windows_ms=(86_400_000,)).delay_ms
    0
    """

    name: Code
    by: FieldName
    of: FieldName
    windows_ms: tuple[Span, ...] = Field(min_length=1, max_length=16)
    delay_ms: int = Field(default=0, ge=0, le=_YEAR_MS)


class LabelRule(_Rule):
    """Which fields of a label mean what, and how long one waits for its event."""

    id_field: FieldName
    time_field: FieldName
    of: FieldName
    expire_ms: Span


class Rule(_Rule):
    """One rule of a decision; the last of a pipeline has no `when` and always holds.

    >>> Rule(when="score > 0.6", outcome="review", reason="score_high").action is None
    True
    """

    when: Text | None = None
    outcome: Outcome
    reason: Code
    action: Code | None = None
    action_version: int = Field(default=1, ge=1)
    action_carries: Code | None = None


class NotifyRule(_Rule):
    """What people are told of a decision for which `when` holds."""

    when: Text
    severity: Severity
    title: Text


def by_score(review: float, block: float) -> tuple[Rule, ...]:
    """Return the rules most pipelines begin with: from which score on a person looks, or nobody.

    >>> [rule.outcome for rule in by_score(0.5, 0.9)]
    ['block', 'review', 'approve']
    """
    assert 0.0 <= review <= block <= 1.0, (review, block)
    return (
        Rule(when=f"score >= {float(block)!r}", outcome="block", reason="score_very_high"),
        Rule(when=f"score >= {float(review)!r}", outcome="review", reason="score_high"),
        Rule(outcome="approve", reason="score_low"),
    )


def urgent(review: float) -> tuple[NotifyRule, ...]:
    """Return who is told at once, as a rule: of each block, and of a review from a score on."""
    reviewed = f"outcome == 'review' && score >= {float(review)!r}"
    return (
        NotifyRule(when="outcome == 'block'", severity="critical", title="blocked"),
        NotifyRule(when=reviewed, severity="warning", title="for urgent review"),
    )
