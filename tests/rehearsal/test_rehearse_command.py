"""`batuta rehearse`: what it prints, and how it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from batuta.streams.rehearsal.happenings import Violation
from batuta.streams.rehearsal.plan import FAULT_KINDS
from batuta.streams.rehearsal.rehearse import Total
from batuta.streams.rehearsal.seed_run import SeedReport, run_seed

if TYPE_CHECKING:
    from batuta.streams.rehearsal.world import Cast

COMMAND = "import sys; from batuta.streams.cli import main; sys.exit(main())"


def rehearse(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", COMMAND, "rehearse", *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_it_counts_what_happened(real: Cast) -> None:
    left = rehearse("--seeds", "2", "--from-seed", "3", "--jobs", "2", "--json")
    assert left.returncode == 0, left.stderr
    result = json.loads(left.stdout)
    assert result["seeds"] == 2
    assert result["violations"] == []
    assert result["events"] >= 1_000
    assert result["simulated_days"] > 0
    assert set(result["faults"]) == set(FAULT_KINDS)
    reports = [run_seed(seed, real) for seed in (3, 4)]
    assert sum(result["faults"].values()) == sum(sum(r.faults.values()) for r in reports)


def test_one_seed_says_which_way_it_took(real: Cast) -> None:
    left = rehearse("--seeds", "1", "--from-seed", "3", "--json")
    assert json.loads(left.stdout)["trace_hash"] == run_seed(3, real).trace_hash


def test_an_unknown_pipeline_is_wrong_usage() -> None:
    left = rehearse("--seeds", "1", "--pipeline", "nobody")
    assert left.returncode == 2
    assert "nobody" in left.stderr


def test_violations_are_kept_with_their_seed() -> None:
    total = Total()
    violation = Violation("everything ends once", "e1 came to no end")
    total.add(SeedReport(7, 500, {"crash": 1}, 43_200.0, (violation,), "h"))
    assert total.violations == [(7, violation)]
    assert total.violation_count == 1
    assert total.simulated_days == 0.5
