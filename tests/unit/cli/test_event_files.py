"""Files become records line by line; a bad line never touches its neighbours."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from batuta.schemas.errors import UsageError
from batuta.schemas.fraud import Transaction
from batuta.streams.event_files import BadLine, FileFormat, Line, count_lines, format_of, read_lines

HEADER = "transaction_id,event_time,card_id,terminal_id,amount,currency,channel,lat"


def read(path: Path, file_format: FileFormat, *, schema: bool = True) -> list[Line | BadLine]:
    return list(read_lines(path, file_format, Transaction if schema else None))


def fields_of(line: Line | BadLine) -> dict[str, object]:
    assert isinstance(line, Line), line
    assert orjson.loads(line.json) == line.fields
    return dict(line.fields)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines_travel_byte_for_byte(tmp_path: Path) -> None:
    line = b'{"a": 1.10,  "b": "\xc3\xa9"}'
    path = write(tmp_path, "x.jsonl", b"\xef\xbb\xbf" + line + b"\n\n" + line)
    found = read(path, "jsonl")
    assert [one.number for one in found] == [1, 3]
    assert all(isinstance(one, Line) and one.json == line for one in found)


def test_bad_json_lines_are_named_by_number(tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", b'{"a": 1}\n{"a": \n[1]\n{"a": "\xff"}\n{"a": NaN}\n{"a": 2}')
    found = read(path, "jsonl")
    bad = {one.number: one.detail for one in found if isinstance(one, BadLine)}
    assert set(bad) == {2, 3, 4, 5}
    assert bad[3] == "not a JSON object"
    assert fields_of(found[-1]) == {"a": 2}


def test_csv_takes_its_types_from_the_schema(tmp_path: Path) -> None:
    row = "0042,2018-04-01T10:17:43Z,0007,17,12.50,EUR,pos,"
    (line,) = read(write(tmp_path, "x.csv", f"{HEADER}\n{row}\n"), "csv")
    assert fields_of(line) == {
        "transaction_id": "0042",
        "event_time": "2018-04-01T10:17:43Z",
        "card_id": "0007",
        "terminal_id": "17",
        "amount": 12.5,
        "currency": "EUR",
        "channel": "pos",
    }
    Transaction.model_validate_json(orjson.dumps(fields_of(line)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7.25", -7.25),
        ("1e3", 1000.0),
        ("0.5", 0.5),
        ("0", 0),
        ("0042", "0042"),
        ("+4917", "+4917"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("True", True),
        ("false", False),
        ("2018-04-01", "2018-04-01"),
    ],
)
def test_csv_without_schema_types_what_looks_typed(
    tmp_path: Path, text: str, value: object
) -> None:
    (line,) = read(write(tmp_path, "x.csv", f"a,b\nx,{text}\n"), "csv", schema=False)
    found = fields_of(line)["b"]
    assert (found, type(found)) == (value, type(value))


def test_bad_csv_lines_are_named_by_number(tmp_path: Path) -> None:
    good = "tx-1,2018-04-01T10:17:43Z,c1,t1,1,EUR,pos,2.5"
    rows = [
        good,
        good.replace(",1,EUR", ",much,EUR"),
        good + ",more",
        good.replace(",1,EUR", ",NaN,EUR"),
        good.replace("pos", '"p\no\ns"'),
        good,
    ]
    path = write(tmp_path, "x.csv", "\n".join([HEADER, *rows]).encode() + b"\n\xff" + good.encode())
    found = read(path, "csv")
    assert {one.number: one.detail for one in found if isinstance(one, BadLine)} == {
        3: "amount: 'much' is not a finite number",
        4: "9 fields where the first line names 8",
        5: "amount: 'NaN' is not a finite number",
        10: "not UTF-8",
    }
    assert [one.number for one in found if isinstance(one, Line)] == [2, 8, 9]


def test_parquet_becomes_json(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    moment = datetime(2018, 4, 1, 10, 17, 43, tzinfo=UTC)
    table = pa.table(
        {
            "aware": pa.array([moment], pa.timestamp("us", "Europe/Berlin")),
            "naive": pa.array([moment.replace(tzinfo=None)], pa.timestamp("us")),
            "day": pa.array([moment.date()]),
            "decimal": pa.array([Decimal("1.50")]),
            "whole": pa.array([3], pa.int64()),
            "missing": pa.array([None], pa.string()),
            "nan": pa.array([float("nan")]),
            "bytes": pa.array([b"c1"], pa.binary()),
        }
    )
    parquet.write_table(table, path)
    (line,) = read(path, "parquet", schema=False)
    assert fields_of(line) == {
        "aware": "2018-04-01T10:17:43Z",
        "naive": "2018-04-01T10:17:43Z",
        "day": "2018-04-01",
        "decimal": 1.5,
        "whole": 3,
        "bytes": "c1",
    }


def test_a_bad_parquet_row_is_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"a": pa.array([b"ok", b"\xff"], pa.binary())}), path)
    found = read(path, "parquet", schema=False)
    assert [type(one) for one in found] == [Line, BadLine]
    assert found[1].number == 2


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("a.jsonl", None, "jsonl"),
        ("a.CSV", None, "csv"),
        ("a.parquet", None, "parquet"),
        ("a.csv", "jsonl", "jsonl"),
    ],
)
def test_the_format_is_given_or_the_suffix(name: str, given: str | None, expected: str) -> None:
    assert format_of(Path(name), given) == expected


@pytest.mark.parametrize(("name", "given"), [("a.txt", None), ("a.csv", "xml")])
def test_an_unknown_format_is_wrong_usage(name: str, given: str | None) -> None:
    with pytest.raises(UsageError, match="one of jsonl, csv, parquet"):
        format_of(Path(name), given)


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_a_missing_file_is_wrong_usage(tmp_path: Path, file_format: FileFormat) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "none", file_format)
    with pytest.raises(UsageError, match="cannot read"):
        count_lines(tmp_path / "none", file_format)


@pytest.mark.parametrize("content", ["", "{}"])
def test_another_format_than_said_is_wrong_usage(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "x", content)
    with pytest.raises(UsageError, match="not a Parquet file"):
        read(path, "parquet")


def test_a_csv_file_without_a_first_line_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names its fields"):
        read(write(tmp_path, "x.csv", ""), "csv")


def test_lines_are_counted_for_the_bar(tmp_path: Path) -> None:
    path = write(tmp_path, "x.csv", "a\n1\n2\n")
    assert count_lines(path, "csv") == 2
    assert count_lines(path, "jsonl") == 3
