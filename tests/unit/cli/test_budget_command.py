"""`batuta budget` where there is nothing to show or nobody to ask; with a worker: acceptance."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from batuta.streams.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, Any, str]]

FILE = """\
pipeline: unseen
version: 1
source: {schema: "unseen_parts:Trial", id: trial, key: key, time: at}
models:
  oracle: {adapter: python, use: "unseen_parts:Oracle", inputs: [size], cost: 0.01 EUR}
budget:
  - {limit: 5 EUR}
  - {name: own, limit: 1 EUR, per: hour, each: tenant}
decide: [{otherwise: approve}]
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime


class Trial(BaseModel):
    trial: str
    key: str
    at: EventTime
    size: float


class Oracle:
    def answer(self, inputs):
        return np.full(len(inputs), 0.25)
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; return its exit code, its JSON and what it said."""

    def command(*words: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["batuta", "budget", *words, "--json"])
        try:
            code = main()
        except SystemExit as left:
            code = int(left.code or 0)
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return command


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A pipeline with two budgets, which no worker has run."""
    (tmp_path / "unseen_parts.py").write_text(PARTS)
    (tmp_path / "unseen.yaml").write_text(FILE)
    return str(tmp_path / "unseen.yaml")


def test_a_pipeline_without_budget_shows_none_and_has_none_to_set(run: Run) -> None:
    where = ("--bootstrap", "127.0.0.1:9")
    code, told, said = run("show", "fraud", *where)
    assert (code, told["budgets"], "fraud has no budget; docs/budgets.md" in said) == (1, [], True)
    code, told, said = run("set", "fraud", "5 EUR", *where)
    assert (code, told, "fraud has no budget; add budget: to its file" in said) == (2, None, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("set", "FILE", "5 EUR"), "unseen has several budgets; add --budget, one of: daily, own"),
        (("set", "FILE", "5 EUR", "--budget", "own"), "each tenant has a budget own of its own;"),
        (("set", "FILE", "5"), 'limit: "5" is no amount of money; write a number, a space and a'),
        (("set", "FILE", "5 EUR", "--instead-of", "x"), '--instead-of: "x" is no amount of money'),
        (("show", "FILE", "--budget", "dayly"), "'dayly' is no budget of unseen; choose one"),
        (("show", "nobody"), "no pipeline is called 'nobody'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    run: Run, file: str, words: tuple[str, ...], said: str
) -> None:
    words = tuple(file if word == "FILE" else word for word in words)
    code, told, error = run(*words, "--bootstrap", "127.0.0.1:9")
    assert (code, told) == (2, None)
    assert said in error


def test_where_no_broker_answers_it_leaves_with_3(run: Run, file: str) -> None:
    code, told, said = run("show", file, "--bootstrap", "127.0.0.1:9")
    assert (code, told, "no broker answers at 127.0.0.1:9" in said) == (3, None, True)


def test_before_a_worker_has_run_there_is_no_account(
    run: Run, file: str, embedded_broker: str
) -> None:
    code, told, said = run("show", file, "--bootstrap", embedded_broker)
    assert (code, told, "no topic unseen-budgeting.state on the broker" in said) == (2, None, True)
