"""What stands under `budget`: one budget, or several under names of their own in a list."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from batuta.schemas.pipeline_file.quantities import MoneyText, Name, Percentage

__all__ = ["BudgetEntry", "Budgets"]

_BUDGETS_MAX: Final = 16
Rung = Literal["warn", "cheaper", "sample", "queue", "stop"]


class BudgetEntry(BaseModel):
    """What asking models may cost within a window, and what happens as it is used up."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: Name | None = Field(default=None, description="else what its windows are: daily")
    limit: MoneyText = Field(description="of one window; never exceeded")
    per: Literal["hour", "day", "month"] = Field(
        default="day", description="the window: of the clock, in UTC"
    )
    models: tuple[Name, ...] = Field(default=(), description="which it pays for; else all")
    each: Literal["tenant"] | None = Field(
        default=None, description="tenant: each tenant has one of its own"
    )
    at: dict[Percentage, Rung] = Field(
        default={}, description="from which share of the limit on what happens; ends with a stop"
    )
    sample: Percentage = Field(
        default=0.1, description="for `sample`: of how many events models are asked"
    )


def _several(value: object) -> object:
    """Take one budget for a list of it."""
    return [value] if isinstance(value, dict) else value


Budgets = Annotated[
    tuple[BudgetEntry, ...], BeforeValidator(_several), Field(max_length=_BUDGETS_MAX)
]
