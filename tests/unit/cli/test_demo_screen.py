"""The live page of a demonstration fits the terminal that it is drawn on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from batuta.streams.cli.demo_screen import Page
from batuta.streams.demo.view import Stage, View


def drawn(width: int) -> str:
    stage = Stage(
        pipeline="fraud",
        bootstrap="127.0.0.1:9092",
        embedded=True,
        model="forest@182be7a30b32",
        metrics_url="http://127.0.0.1:1/metrics",
        stages=("ingestion", "scoring"),
        spoiled_share=0.01,
        labelled=True,
    )
    view = View(
        stage=stage,
        seconds=4_000.0,
        published=3_456_789,
        answered=3_456_789,
        per_second=1_234.0,
        p50_ms=9_123,
        p99_ms=9_876,
        outcomes={"approve": 3_333_333, "review": 88_888, "block": 34_568},
        refusals={"not_json": 1},
        escalations=88_889,
        notifications=34_569,
        labels=12_345,
        stopped=(),
        latest=(),
        explain_id=None,
        ended=False,
    )
    console = Console(file=io.StringIO(), width=width, height=40)
    console.print(Page(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_no_figure_is_cut(width: int) -> None:
    page = drawn(width)
    shown = (
        "3,456,789",
        "1,234",
        "3,333,333",
        "88,888",
        "34,568",
        "88,889",
        "9,123 ms",
        "9,876 ms",
    )
    assert [one for one in shown if one not in page] == []


def test_a_wide_terminal_shows_more() -> None:
    assert "12,345" in drawn(120)
    assert "34,569" in drawn(120)
    assert "labels" not in drawn(80)
