"""Gzipped CSV files: columns by name, and what is none is refused with what to look at."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from batuta.schemas.errors import UsageError
from batuta.streams.data.files import read_csv

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, data: bytes, *, packed: bool = True) -> Path:
    path = folder / "rows.csv.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def test_columns_come_by_name_whatever_stands_in_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, b'text,label\r\n"two\nlines, one ""row""",a\r\nplain,b\r\n')
    found = read_csv(path, ("label", "text"))
    assert found["label"].tolist() == ["a", "b"]
    assert found["text"].tolist() == ['two\nlines, one "row"', "plain"]


@pytest.mark.parametrize(
    ("data", "packed", "said"),
    [
        (b"text\na\n", True, "no column 'label'; it has text"),
        (b"text,label\na\n", True, "row 1 has 1 values, not 2"),
        (b"text,label\n\xff,b\n", True, "cannot read"),
        (b'text,label\n"a,b\n', True, "cannot read"),
        (b"text,label\na,b\n", False, "cannot read"),
        (b"", True, "cannot read"),
    ],
    ids=["column", "width", "encoding", "quote", "not packed", "empty"],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, data: bytes, *, packed: bool, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read_csv(written(tmp_path, data, packed=packed), ("text", "label"))
