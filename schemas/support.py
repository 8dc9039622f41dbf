"""The data of a support message. Version 1.

{"message_id": "m-000412", "sent_at": "2018-04-01T10:17:43Z", "customer_id": "k-17",
 "channel": "email", "text": "Our whole shop is down since this morning, please help!"}
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.times import EventTime

__all__ = ["SupportMessage"]

Identifier = Annotated[str, Field(min_length=1, max_length=128)]


class SupportMessage(BaseModel):
    """What a customer has written.

    >>> SupportMessage.model_validate_json(
    ...     '{"message_id": "m-1", "sent_at": "2018-04-01T10:17:43Z", "customer_id": "k-17",'
    ...     ' "text": "It works again, thank you."}'
    ... ).channel
    'email'
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_id: Identifier
    sent_at: EventTime
    customer_id: Identifier
    channel: Literal["email", "chat", "form"] = "email"
    text: Annotated[str, Field(max_length=20_000)]
