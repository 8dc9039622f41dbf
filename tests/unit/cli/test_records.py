"""A record is shown whole, whatever its bytes."""

import pytest

from batuta.schemas.record import Record
from batuta.streams.cli.records import as_json, as_text, at, clock, when

RECORD = Record("t", 2, 17, 1_522_577_863_052, b"c1", b'{"a": 1}', (("ce_id", b"x"),))


def test_as_json() -> None:
    assert as_json(RECORD) == {
        "topic": "t",
        "partition": 2,
        "offset": 17,
        "timestamp": "2018-04-01T10:17:43.052Z",
        "key": "c1",
        "headers": {"ce_id": "x"},
        "value": {"a": 1},
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), (b"not json", "not json"), (b"\xff\x00", "\\xff\x00"), (b"NaN", "NaN")],
)
def test_a_value_that_is_not_json_is_text(value: bytes | None, shown: str | None) -> None:
    assert as_json(RECORD._replace(value=value))["value"] == shown


def test_as_text() -> None:
    assert as_text(RECORD).plain == '10:17:43.052 2@17 c1 ce_id=x {"a": 1}'
    assert as_text(RECORD._replace(key=None, value=None)).plain.endswith("- ce_id=x (null)")


def test_when_and_where() -> None:
    assert when(RECORD.timestamp_ms) == "2018-04-01T10:17:43.052Z"
    assert clock(RECORD.timestamp_ms) == "10:17:43.052"
    assert at(RECORD) == "t [2] @17"
