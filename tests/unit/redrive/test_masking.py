"""Masks: nothing personal is shown, wherever it stands; what is not personal is."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from batuta.schemas.masking import Mask
from batuta.schemas.stage_doors import stage_doors
from batuta.streams.pipelines.finding import PIPELINES
from batuta.streams.stages import ROUTE

SECRET = "c-4711-secret"
Personal = Annotated[str, Field(json_schema_extra={"personal": True})]


class Line(BaseModel):
    owner: Personal
    price: float


class Order(BaseModel):
    number: str
    owner: Personal
    lines: list[Line]
    labels: dict[str, str]


class Plain(BaseModel):
    number: str


def test_personal_fields_are_hidden_also_within_lists() -> None:
    shown = Mask(Order).value(
        {"number": "7", "owner": SECRET, "lines": [{"owner": SECRET, "price": 2.5}]}
    )
    assert SECRET not in json.dumps(shown)
    assert shown == {
        "number": "7",
        "owner": "<a text of 13 characters>",
        "lines": [{"owner": "<a text of 13 characters>", "price": 2.5}],
    }


@pytest.mark.parametrize(
    "value",
    [
        {"Owner": SECRET},
        {"lines": {"owner": SECRET}},
        {"lines": [{"oner": SECRET}]},
        {"lines": SECRET},
        {"number": {"owner": SECRET}},
        {"number": [{"owner": SECRET}]},
        {"owner": {"name": [SECRET]}},
        [SECRET],
        SECRET,
    ],
)
def test_what_stands_where_no_schema_has_it_is_hidden(value: object) -> None:
    assert SECRET not in json.dumps(Mask(Order).value(value))


def test_what_may_hold_anything_is_shown() -> None:
    assert Mask(Order).value({"labels": {"a": "b"}}) == {"labels": {"a": "b"}}


def test_a_model_without_personal_fields_is_shown_whole() -> None:
    value = {"number": "7", "unknown": SECRET}
    mask = Mask(Plain, key=True)
    assert not mask.hides
    assert mask.value(value) == value
    assert mask.headers((("x", b"1"),)) == {"x": "1"}


def test_headers_are_hidden_but_those_that_say_how_it_travels() -> None:
    headers = (("ce_subject", SECRET.encode()), ("ce_type", b"t"), ("batuta-redriven-of", b"1:2"))
    shown = Mask(Order).headers(headers)
    assert shown == {
        "ce_subject": "<a text of 13 characters>",
        "ce_type": "t",
        "batuta-redriven-of": "1:2",
    }


def test_an_envelope_shows_its_attributes_alone() -> None:
    shown = Mask(Order).envelope({"id": "1", "subject": SECRET, "data": {"owner": SECRET}})
    assert shown["id"] == "1"
    assert SECRET not in json.dumps(shown)


@pytest.mark.parametrize("stage", [stage.__name__ for stage in ROUTE])
def test_no_stage_of_fraud_shows_a_card(stage: str) -> None:
    fraud = PIPELINES["fraud"]
    mask = stage_doors(fraud.pipeline, fraud.data, fraud.label)[stage].mask
    data = {"card_id": SECRET, "amount": 2.5}
    message = {**data, "entity": SECRET, "data": data} if stage != "notification" else data
    shown = json.dumps(mask.value(message))
    assert SECRET not in shown
    assert ("2.5" in shown) is (stage in {"ingestion", "scoring"})
    key_is_card = stage in {"ingestion", "rekeying", "escalation"}
    assert (mask.key(SECRET) == SECRET) is not key_is_card


def test_every_stage_has_a_door() -> None:
    fraud = PIPELINES["fraud"]
    doors = stage_doors(fraud.pipeline, fraud.data, fraud.label)
    assert list(doors) == [stage.__name__ for stage in ROUTE]


json_values = st.recursive(
    st.just(SECRET) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["owner", "lines", "Owner", "x", "number", "price"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(value=json_values)
def test_a_personal_field_never_shows_whatever_surrounds_it(value: object) -> None:
    shown = Mask(Order).value({"owner": value, "lines": [{"owner": value}], "more": value})
    assert SECRET not in json.dumps(shown)
