"""Reads the files of a labelled data set: columns of Parquet and CSV, and small JSON documents."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import orjson

from batuta.schemas.errors import UsageError

__all__ = ["Columns", "read_columns", "read_csv", "read_json"]

#: Columns by name, one element per row, of whatever type the file holds.
Columns = Mapping[str, npt.NDArray[np.generic]]

_JSON_BYTES_MAX: Final = 64 * 1_048_576
_CSV_BYTES_MAX: Final = 64 * 1_048_576


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Return columns of a Parquet file; text comes as text, times as `datetime64`.

    Raises:
        UsageError: it cannot be read, misses one of the columns, or has a row without a value.
    """
    table = _table(path, names)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        found = ", ".join(table.column_names)
        raise UsageError(f"{path} has no column {missing[0]!r}; it has {found}")
    for name in names:
        if table.column(name).null_count:
            raise UsageError(f"{path}: column {name!r} has a row without a value")
    return {name: _array(table.column(name)) for name in names}


def read_csv(path: Path, names: Sequence[str]) -> Columns:
    """Return columns of a gzipped CSV file with a line of names, all as text.

    Raises:
        UsageError: it cannot be read, misses one of the columns, or has a row of another width.
    """
    try:
        with gzip.open(path) as file:
            data = file.read(_CSV_BYTES_MAX + 1)
        if len(data) > _CSV_BYTES_MAX:
            raise UsageError(f"{path} unpacks to more than {_CSV_BYTES_MAX:,} bytes")
        head, *rows = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if missing := [name for name in names if name not in head]:
        raise UsageError(f"{path} has no column {missing[0]!r}; it has {', '.join(head)}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise UsageError(f"{path}: row {number} has {len(row)} values, not {len(head)}")
    return {name: np.array([row[head.index(name)] for row in rows], np.str_) for name in names}


def read_json(path: Path) -> object:
    """Return a JSON document.

    Raises:
        UsageError: it cannot be read, or is not JSON.
    """
    try:
        size = path.stat().st_size
        if size > _JSON_BYTES_MAX:
            raise UsageError(f"{path} has {size:,} bytes; at most {_JSON_BYTES_MAX:,} are read")
        return orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error


def _table(path: Path, names: Sequence[str]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - half a second that no other command needs
    from pyarrow import parquet  # noqa: PLC0415

    try:
        file = parquet.ParquetFile(path)
        held = file.schema_arrow.names
        return file.read(columns=[name for name in names if name in held] or held[:1])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: not a Parquet file ({error})") from error


def _array(column: Any) -> npt.NDArray[np.generic]:
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), np.str_)
    return cast("npt.NDArray[np.generic]", column.to_numpy())
