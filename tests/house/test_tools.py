"""The tools agree: one test each, run as anybody runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ROOMS = ("schemas", "agents", "streams")


@pytest.mark.timeout(1200)  # on a busy machine pyright takes its minutes
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("ruff", "check", "--quiet", "."), id="ruff-check"),
        pytest.param(("ruff", "format", "--check", "--quiet", "."), id="ruff-format"),
        pytest.param(("mypy", *(f"-pbatuta.{room}" for room in ROOMS)), id="mypy"),
        pytest.param(("pyright", "--pythonpath", sys.executable), id="pyright"),
    ],
)
def test_finds_nothing(command: tuple[str, ...], root: Path) -> None:
    program = BIN / command[0]
    assert program.exists(), f"{command[0]} is not installed beside {sys.executable}"
    done = subprocess.run(
        [program, *command[1:]], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
