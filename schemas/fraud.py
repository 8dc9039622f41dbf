"""The data of a card transaction and of its label. Version 1.

{"transaction_id": "tx-000003527", "event_time": "2018-04-01T10:17:43Z", "card_id": "c3774",
 "terminal_id": "t3059", "amount": 225.41, "currency": "EUR", "channel": "pos"}

{"transaction_id": "tx-000003527", "label_time": "2018-04-08T10:17:43Z", "fraud": true}
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.times import EventTime

__all__ = ["FraudLabel", "Transaction"]

Identifier = Annotated[str, Field(min_length=1, max_length=128)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 alphabetic code")]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code")]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Transaction(_Data):
    """A payment by card at a terminal.

    >>> Transaction.model_validate_json(
    ...     '{"transaction_id": "tx-1", "event_time": "2018-04-01T10:17:43Z", "card_id": "c3774",'
    ...     ' "terminal_id": "t3059", "amount": 225.41, "currency": "EUR", "channel": "pos"}'
    ... ).amount
    225.41
    """

    transaction_id: Identifier
    event_time: EventTime
    card_id: Annotated[Identifier, Field(json_schema_extra={"personal": True}, repr=False)]
    terminal_id: Identifier
    amount: Annotated[float, Field(ge=0, le=9e8, description="in units of `currency`")]
    currency: Currency
    channel: Annotated[str, Field(min_length=1, max_length=32, description="such as pos, online")]
    country: Country | None = None
    lat: Annotated[float, Field(ge=-90, le=90, description="degrees north")] | None = None
    lon: Annotated[float, Field(ge=-180, le=180, description="degrees east")] | None = None
    merchant_category: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class FraudLabel(_Data):
    """What a transaction turned out to be, known days later.

    >>> FraudLabel.model_validate_json(
    ...     '{"transaction_id": "tx-1", "label_time": "2018-04-08T10:17:43Z", "fraud": true}'
    ... ).fraud
    True
    """

    transaction_id: Identifier
    label_time: EventTime
    fraud: bool
