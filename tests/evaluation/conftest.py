"""Where the published data sets are: `BATUTA_DATA`; without it these tests skip, and say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder that holds one folder per data set."""
    given = os.environ.get("BATUTA_DATA")
    if not given:
        pytest.skip("NOTHING WAS EVALUATED: BATUTA_DATA names no folder of data sets")
    return Path(given)


@pytest.fixture(scope="session")
def nab_dir(data_dir: Path) -> Path:
    """Return the folder of the Numenta Anomaly Benchmark."""
    return found(data_dir / "nab")


@pytest.fixture(scope="session")
def fraud_dir(data_dir: Path) -> Path:
    """Return the folder of the fraud handbook's transactions."""
    return found(data_dir / "fraud_handbook")


@pytest.fixture(scope="session")
def banking_dir(data_dir: Path) -> Path:
    """Return the folder of the banking questions, beside that of the desk's policies."""
    found(data_dir / "abcd_policy")
    return found(data_dir / "banking77")


def found(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"NOT EVALUATED: BATUTA_DATA holds no {folder.name}")
    return folder
