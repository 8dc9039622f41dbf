"""Reads events from files: JSON lines, CSV and Parquet, one record at a time.

A line that cannot be read becomes a BadLine with its number and a sentence; its neighbours are
untouched. Types are what the schema says where there is one: in a CSV file a card called `0042`
stays text and an amount of `12.50` becomes a number. Without a schema, text that looks like a
number or a truth value becomes one. A field that is empty (CSV) or null (Parquet) is not there.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import orjson
from pydantic import BaseModel

from batuta.schemas.errors import UsageError

__all__ = ["FORMATS", "BadLine", "FileFormat", "Line", "count_lines", "format_of", "read_lines"]

FileFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]
FORMATS: Final[tuple[FileFormat, ...]] = get_args(FileFormat)
_BY_SUFFIX: Final[dict[str, FileFormat]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PARQUET_ROWS: Final = 10_000
_TRUTHS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Line:
    """One record of a file: its line (or row) number from 1, its fields and its JSON."""

    number: int
    fields: Mapping[str, object]
    json: bytes


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no record, and why."""

    number: int
    detail: str


def format_of(path: Path, given: str | None = None) -> FileFormat:
    """Return the format of a file: the one given, else by its suffix.

    Raises:
        UsageError: neither names a format we read.
    """
    by_name: dict[str, FileFormat] = {name: name for name in FORMATS}
    found = by_name.get(given) if given else _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        known = ", ".join(FORMATS)
        raise UsageError(f"{path}: cannot tell the format; pass --format, one of {known}")
    return found


def read_lines(
    path: Path, file_format: FileFormat, schema: type[BaseModel] | None = None
) -> Iterator[Line | BadLine]:
    """Yield every record of a file in order; empty lines are skipped.

    Raises:
        UsageError: the file cannot be opened, or is not of this format at all.
    """
    try:
        if file_format == "jsonl":
            yield from _read_json_lines(path)
        elif file_format == "csv":
            yield from _read_csv(path, schema)
        else:
            yield from _read_parquet(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def count_lines(path: Path, file_format: FileFormat) -> int:
    """Return about how many records a file holds, for a progress bar; cheap.

    Raises:
        UsageError: the file cannot be opened, or is not of this format at all.
    """
    try:
        if file_format == "parquet":
            return int(_parquet_file(path).metadata.num_rows)
        with path.open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return lines - 1 if file_format == "csv" else lines


# JSON lines


def _read_json_lines(path: Path) -> Iterator[Line | BadLine]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.strip()
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line:
                yield _json_line(number, line)


def _json_line(number: int, line: bytes) -> Line | BadLine:
    try:
        fields: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadLine(number, f"not JSON: {error.msg} at column {error.colno}")
    if not isinstance(fields, dict):
        return BadLine(number, "not a JSON object")
    return Line(number, cast("dict[str, object]", fields), line)


# CSV


def _read_csv(path: Path, schema: type[BaseModel] | None) -> Iterator[Line | BadLine]:
    kinds = _field_kinds(schema) if schema else {}
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        if not any(names):
            raise UsageError(f"{path}: the first line of a CSV file names its fields")
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadLine(rows.line_num, f"not CSV: {error}")
                continue
            if row:
                yield _csv_line(rows.line_num, names, row, kinds)


def _csv_line(
    number: int, names: list[str], row: list[str], kinds: Mapping[str, str]
) -> Line | BadLine:
    if len(row) != len(names):
        return BadLine(number, f"{len(row)} fields where the first line names {len(names)}")
    try:
        fields = {
            name: _typed(name, text, kinds.get(name, "any"))
            for name, text in zip(names, row, strict=True)
            if text
        }
        return Line(number, fields, orjson.dumps(fields))
    except UnicodeError:
        return BadLine(number, "not UTF-8")
    except (ValueError, orjson.JSONEncodeError) as error:
        return BadLine(number, str(error))


def _field_kinds(schema: type[BaseModel]) -> dict[str, str]:
    """Return whether each field of a schema is text, a number or a truth value."""
    return {name: _kind_of(field.annotation) for name, field in schema.model_fields.items()}


def _kind_of(annotation: object) -> str:
    named = set(_plain_types(annotation)) - {type(None)}
    if named and named <= {int, float}:
        return "number"
    return "truth" if named == {bool} else "text"


def _plain_types(annotation: object) -> Iterator[object]:
    inner = get_args(annotation)
    if isinstance(annotation, type) or not inner:
        yield annotation
        return
    for part in inner:
        if isinstance(part, type) or get_args(part):
            yield from _plain_types(part)


def _typed(name: str, text: str, kind: str) -> object:
    text.encode()  # surrogates stand for bytes that are not UTF-8
    if kind == "text":
        return text
    truth = _TRUTHS.get(text.lower())
    if kind == "any":
        number = _number(text) if truth is None and _looks_like_number(text) else None
        return truth if truth is not None else text if number is None else number
    found = truth if kind == "truth" else _number(text)
    if found is None:
        wanted = "true or false" if kind == "truth" else "a finite number"
        raise ValueError(f"{name}: {text!r} is not {wanted}")
    return found


def _looks_like_number(text: str) -> bool:
    """Return False for what only a person writes as digits: 0042, +31..., 1_000."""
    digits = text.removeprefix("-")
    plain = digits[:1].isdigit() and "_" not in digits
    return plain and (len(digits) == 1 or digits[0] != "0" or digits[1] in ".eE")


def _number(text: str) -> int | float | None:
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


# Parquet


def _read_parquet(path: Path) -> Iterator[Line | BadLine]:
    number = 0
    for batch in _parquet_file(path).iter_batches(batch_size=_PARQUET_ROWS):
        for row in cast("Iterable[dict[str, object]]", batch.to_pylist()):
            number += 1
            yield _parquet_line(number, row)


def _parquet_file(path: Path) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - half a second that no other format needs
    from pyarrow import parquet  # noqa: PLC0415

    try:
        return parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: not a Parquet file ({error})") from error


def _parquet_line(number: int, row: dict[str, object]) -> Line | BadLine:
    try:
        fields = {name: _plain(value) for name, value in row.items() if not _absent(value)}
        return Line(number, fields, orjson.dumps(fields))
    except (TypeError, ValueError) as error:
        return BadLine(number, str(error))


def _absent(value: object) -> bool:
    """Return True for null, and for the NaN that pandas writes in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: object) -> object:
    """Return a Parquet value as JSON has it; a time without a zone is taken as UTC."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.decode()
    return value
