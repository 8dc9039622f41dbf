"""`batuta init`: a folder that runs, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batuta.schemas.errors import UsageError
from batuta.streams.pipelines.finding import SHIPPED
from batuta.streams.pipelines.starting import start_pipeline

BIN = Path(sys.executable).parent


def batuta(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "batuta", *words],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_it_says_what_it_made_and_what_to_try(tmp_path: Path) -> None:
    done = batuta(tmp_path, "init", "orders")
    assert done.returncode == 0, done.stderr
    assert "made orders/pipeline.yaml" in done.stdout
    assert "demo ./orders/pipeline.yaml" in done.stdout
    again = batuta(tmp_path, "init", "orders", "--json")
    assert again.returncode == 2
    assert again.stderr == (
        "error: orders is there already; choose another name, or move what is there\n"
    )
    other = json.loads(batuta(tmp_path, "init", "two", "--json").stdout)
    assert other["pipeline"] == other["folder"] == "two"
    assert sorted(other["files"]) == sorted(
        str(path.relative_to(tmp_path)) for path in (tmp_path / "two").iterdir()
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My Orders", "'My Orders' is no name of a pipeline; write lower case letters, digits and"),
        ("My Orders", 'at most 48, for example "my_orders"'),
        ("../orders", 'for example "orders"'),
        ("42", "a letter first"),
        ("", "'' is no name of a pipeline"),
        ("o" * 49, "at most 48"),
        ("fraud", "fraud is a pipeline that ships with batuta; choose another name"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_what_to_write(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        start_pipeline(name, tmp_path, frozenset(SHIPPED))
    assert said in str(refused.value)
    assert not list(tmp_path.iterdir())
