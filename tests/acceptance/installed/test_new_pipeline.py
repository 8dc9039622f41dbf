"""`batuta init` against the installed wheel: the new folder runs, and passes its own test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Installed


def test_a_new_pipeline_runs_at_once(installed: Installed, tmp_path: Path) -> None:
    made = installed.run(tmp_path, "batuta", "init", "orders")
    assert made.returncode == 0, made.stderr
    planned = installed.run(tmp_path, "batuta", "plan", "./orders/pipeline.yaml")
    assert planned.returncode == 0, planned.stderr
    tested = installed.run(
        tmp_path, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "orders"
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    seen = installed.run(
        tmp_path, *("batuta", "demo", "./orders/pipeline.yaml", "--events", "3000", "--json")
    )
    assert seen.returncode == 0, seen.stderr
    result = json.loads(seen.stdout)
    assert [result[name] for name in ("events", "lost", "duplicated")] == [3_000, 0, 0]
    assert all(result["outcomes"].values()), result["outcomes"]
