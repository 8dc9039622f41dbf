"""Reads the folder of a labelled data set: what a pipeline's mapping asks for, and no more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from batuta.agents.evaluation.report import Oracle
from batuta.agents.history import HistoryMapping, Tables
from batuta.schemas.errors import UsageError
from batuta.streams.data.files import read_columns, read_csv, read_json

__all__ = ["read_history", "read_oracle"]

HistoryT = TypeVar("HistoryT")
_CSV: Final = ".csv.gz"


def read_history(mapping: HistoryMapping[HistoryT], folder: Path) -> HistoryT:
    """Return the history that a folder holds.

    Raises:
        UsageError: a file is missing, cannot be read, or is not what it should be.
    """
    missing = [name for name in mapping.files if not (folder / name).is_file()]
    if missing:
        wanted = ", ".join(mapping.files)
        raise UsageError(f"{folder} holds no {missing[0]}; the data set is made of {wanted}")
    tables: Tables = {
        name: _read(folder / name, columns) for name, columns in mapping.files.items()
    }
    return mapping.history(tables)


def _read(path: Path, columns: Sequence[str]) -> object:
    if not columns:
        return read_json(path)
    return (read_csv if path.name.endswith(_CSV) else read_columns)(path, columns)


def read_oracle(
    mapping: HistoryMapping[HistoryT], folder: Path, history: HistoryT
) -> Oracle | None:
    """Return the published features that a folder holds, or None where it holds none.

    Raises:
        UsageError: a file cannot be read, or is of another history.
    """
    paths = sorted(folder.glob(mapping.oracle_files)) if mapping.oracle_files else []
    parts = [mapping.oracle(read_columns(path, mapping.oracle_columns), history) for path in paths]
    if not parts:
        return None
    return Oracle(
        parts[0].names,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
