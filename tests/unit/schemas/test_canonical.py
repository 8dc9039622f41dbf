"""Canonical JSON: one form per payload, whichever way it is written."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PlainSerializer, computed_field, field_serializer

from batuta.schemas.canonical import Canonical


class _Plain(BaseModel):
    text: str
    number: float
    count: int
    known: bool
    moment: datetime
    kind: Literal["a", "b"] = "a"
    note: str | None = None


class _Masked(BaseModel):
    text: str

    @field_serializer("text")
    def _mask(self, text: str) -> str:
        return text[:1]


class _Rounded(BaseModel):
    number: Annotated[float, PlainSerializer(round)]


class _Counted(BaseModel):
    text: str

    @computed_field
    @property
    def length(self) -> int:
        return len(self.text)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    text: str


plain = st.builds(
    _Plain,
    text=st.text(st.characters(codec="utf-8")),
    number=st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e-7, 1e16, 1e21]),
    count=st.integers(-9, 9) | st.just(2**70),
    known=st.booleans(),
    moment=st.datetimes(timezones=st.just(UTC)),
    kind=st.sampled_from(["a", "b"]),
    note=st.none() | st.text(st.characters(codec="utf-8")),
)


@given(st.lists(plain, max_size=5))
def test_what_is_written_reads_back_one_object_each(batch: list[_Plain]) -> None:
    canonical = Canonical(_Plain)
    assert canonical.plain
    written = canonical.write(batch)
    assert [_Plain.model_validate_json(text) for text in written] == batch
    # Also where a number beyond 64 bits takes the slower way: never its neighbours.
    assert [canonical.write([data])[0] for data in batch] == written


def test_fields_stand_in_the_schemas_order_without_absent_ones() -> None:
    moment = datetime(2018, 4, 1, 10, 17, 43, tzinfo=UTC)
    data = _Plain(known=True, moment=moment, count=1, number=1, text="},\n,{")
    expected = (
        b'{"text":"},\\n,{","number":1.0,"count":1,"known":true,"moment":"2018-04-01T10:17:43Z",'
        b'"kind":"a"}'
    )
    assert Canonical(_Plain).write([data, data]) == [expected, expected]


def test_a_whole_number_beyond_64_bits_is_written_whole() -> None:
    moment = datetime(2018, 4, 1, tzinfo=UTC)
    data = _Plain(known=True, moment=moment, count=2**70, number=1, text="")
    assert b'"count":%d,' % (2**70) in Canonical(_Plain).write([data])[0]


def test_a_model_that_writes_its_own_form_is_left_to_it() -> None:
    assert Canonical(_Masked).write([_Masked(text="secret")]) == [b'{"text":"s"}']
    assert Canonical(_Rounded).write([_Rounded(number=1.7)]) == [b'{"number":2}']
    assert Canonical(_Counted).write([_Counted(text="ab")]) == [b'{"text":"ab","length":2}']
    assert Canonical(_Open).write([_Open.model_validate({"text": "a", "b": 1})]) == [
        b'{"text":"a","b":1}'
    ]
