"""The data of a card transaction and of its label. Version 1.

{"transaction_id": "tx-000003527", "event_time": "2018-04-01T10:17:43Z", "card_id": "c3774",
 "terminal_id": "t3059", "amount": 225.41, "currency": "EUR", "channel": "pos"}
"""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

__all__ = ["FraudLabel", "Transaction"]

Identifier = Annotated[str, Field(min_length=1, max_length=128)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=False)


class Transaction(_Data):
    """A payment by card at a terminal."""

    transaction_id: Identifier
    event_time: AwareDatetime
    card_id: Annotated[Identifier, Field(json_schema_extra={"personal": True})]
    terminal_id: Identifier
    amount: Annotated[float, Field(ge=0, le=1e9)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    channel: Annotated[str, Field(min_length=1, max_length=32)]
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    lat: Annotated[float, Field(ge=-90, le=90)] | None = None
    lon: Annotated[float, Field(ge=-180, le=180)] | None = None
    merchant_category: Annotated[str, Field(max_length=64)] | None = None


class FraudLabel(_Data):
    """What a transaction turned out to be, known days later."""

    transaction_id: Identifier
    label_time: AwareDatetime
    fraud: bool
