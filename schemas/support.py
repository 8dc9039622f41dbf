"""The data of a support message. Version 1.

{"message_id": "m-000412", "sent_at": "2018-04-01T10:17:43Z", "customer_id": "k-17",
 "channel": "email", "text": "Our whole shop is down since this morning, please help!"}
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.times import EventTime

__all__ = ["SupportMessage", "SupportReply"]

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


class SupportReply(BaseModel):
    """What a language model answers that drafts replies.

    >>> SupportReply(text="We block it.", policy="Lost card", confidence=0.9).score
    0.5
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(max_length=4_000, description="the reply, and nothing else")]
    policy: Annotated[str, Field(max_length=200, description="the title of the policy it follows")]
    score: Annotated[float, Field(ge=0, le=1, description="0.5")] = 0.5
    confidence: Annotated[float, Field(ge=0, le=1, description="how sure that it answers")]
