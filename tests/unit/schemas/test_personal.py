"""Which fields are personal, nested ones too."""

from typing import Annotated

from pydantic import BaseModel, Field

from batuta.schemas.fraud import FraudLabel, Transaction
from batuta.schemas.personal import personal_fields

Personal = Field(json_schema_extra={"personal": True})


class _Address(BaseModel):
    street: Annotated[str, Personal]
    country: str


class _Person(BaseModel):
    name: Annotated[str, Field(alias="fullName", json_schema_extra={"personal": True})]
    homes: list[_Address] | None = None
    friend: "_Person | None" = None


def test_a_card_is_personal_and_a_label_is_not() -> None:
    assert personal_fields(Transaction) == {"card_id"}
    assert personal_fields(FraudLabel) == frozenset()


def test_nested_fields_are_named_by_their_path() -> None:
    assert personal_fields(_Person) >= {"fullName", "homes/street"}
    assert "homes/country" not in personal_fields(_Person)
