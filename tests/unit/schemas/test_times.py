"""Times between milliseconds and RFC 3339."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from batuta.schemas.times import (
    EARLIEST_MS,
    LATEST_MS,
    EventTime,
    parse_rfc3339,
    rfc3339,
    time_ms,
)

READER: TypeAdapter[datetime] = TypeAdapter(EventTime)


@given(st.integers(EARLIEST_MS, LATEST_MS))
def test_a_moment_reads_back(moment_ms: int) -> None:
    text = rfc3339(moment_ms)
    assert len(text) == 24
    assert parse_rfc3339(text) == moment_ms
    assert time_ms(READER.validate_json(f'"{text}"')) == moment_ms


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_written_as_the_standard_library_writes_it(moment: datetime) -> None:
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert rfc3339(time_ms(moment)) == text


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.5Z", 500),
        ("1970-01-01 02:00:00.123456789+02:00", 123),
        ("1969-12-31T23:59:59.9999-00:00", -1),
    ],
)
def test_rfc_3339_is_read(text: str, moment_ms: int) -> None:
    assert time_ms(READER.validate_json(f'"{text}"')) == moment_ms


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:00:00+0200",
        "1970-W01-4T00:00:00Z",
        "19700101T000000Z",
        "0",
        "",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z\\n",
        "1970-01-01T00:00:00,5Z",
    ],
)
def test_nothing_else_is_read(text: str) -> None:
    with pytest.raises(ValidationError, match="RFC 3339"):
        READER.validate_json(f'"{text}"')


def test_in_python_a_moment_needs_its_zone() -> None:
    now = datetime(2018, 4, 1, 10, 17, 43, tzinfo=UTC)
    assert READER.validate_python(now) == now
    with pytest.raises(ValidationError, match="timezone"):
        READER.validate_python(now.replace(tzinfo=None))
