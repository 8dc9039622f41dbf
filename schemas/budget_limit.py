"""A limit that somebody has set for a budget: what `batuta.control` carries of it.

The record says what holds, and is replaced by the next one with its key; the owner of the budget is
told in the same transaction.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.times import EventTime

__all__ = ["BudgetLimit"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class BudgetLimit(BaseModel):
    """What somebody has said that a budget's limit is.

    >>> from datetime import UTC, datetime
    >>> now = datetime(2026, 11, 28, tzinfo=UTC)
    >>> BudgetLimit(pipeline="fraud", budget="daily", limit="60 EUR", set_at=now).control_id
    'budget/fraud/daily'
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    version: Annotated[int, Field(ge=1, le=1)] = 1
    pipeline: Name
    budget: Annotated[str, Field(min_length=1, description="its id: name, or name/tenant")]
    limit: str | None = Field(description="of a window, as 60 EUR; null: that of the pipeline file")
    set_at: EventTime

    @property
    def control_id(self) -> str:
        """The key of its record."""
        return f"budget/{self.pipeline}/{self.budget}"
