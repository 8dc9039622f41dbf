"""What is made of an evaluation: JSON, a table, and a page that needs nothing but itself."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from batuta.agents.evaluation.curves import Curve
from batuta.agents.evaluation.report import Chart, Evaluation, Line, Oracle, PublishedFigures
from batuta.schemas.errors import UsageError
from batuta.streams.cli.evaluate_page import page_of, shown
from batuta.streams.cli.evaluate_result import Walked, differences_of, evaluation_as_json, save_page
from batuta.streams.cli.evaluate_screen import figures

if TYPE_CHECKING:
    from pathlib import Path

LINES = (
    Line("model <b>", Curve(np.array([0.0, 500.0, 1_000.0]), np.array([0.0, 0.5, 0.77]))),
    Line("other", Curve(np.array([0.0, 1_000.0]), np.array([0.1, 0.2]))),
)
EVALUATION = Evaluation(
    metrics={"auc": 0.86956, "ap": 0.66371},
    published=(PublishedFigures("theirs & others'", {"auc": 0.867}),),
    facts={"test_rows": 58_264, "data": "simulated <script>"},
    charts=(
        Chart("Reviewer load", "reviews per day", "recall", LINES),
        Chart("One point", "x", "y", (Line("p", Curve(np.array([3.0]), np.array([0.0]))),)),
    ),
)
WALKED = Walked(
    "forest@0123456789ab",
    np.array([0.1, np.nan, 0.3]),
    {"night": np.array([0.0, 1.0, 1.0])},
    seconds=2.0,
    cpu_us_per_event={"scoring": 12.5},
)


class Tags(HTMLParser):
    """Collects what a browser would meet."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page() -> str:
    return page_of("Evaluation of fraud", "model forest@0123456789ab", EVALUATION)


def test_the_page_loads_nothing_and_runs_nothing(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    names = {name for name, _ in tags.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "use"}
    assert not re.search(r"https?:|//|url\(|@import", page)
    assert not any(
        key.startswith("on") or key in {"src", "href"} for _, keys in tags.tags for key in keys
    )


def test_the_page_says_every_figure_and_escapes_what_others_wrote(page: str) -> None:
    for text in ("0.870", "0.664", "0.867", "58,264", "theirs &amp; others", "model &lt;b&gt;"):
        assert text in page
    assert "simulated &lt;script&gt;" in page


def test_lines_lie_within_their_chart(page: str) -> None:
    drawings = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(drawings) == 2
    lines = [path for path in drawings[0].iter("path") if str(path.get("class")).startswith("line")]
    drawn = [str(path.get("d")) for path in lines if "L" in str(path.get("d"))]
    assert len(drawn) == 2
    places = [float(number) for line in drawn for number in re.findall(r"[\d.]+", line)]
    assert all(64 <= x <= 640 - 28 for x in places[0::2])
    assert all(34 <= y <= 360 - 48 for y in places[1::2])
    # More is further right and further up, and half way is half way: the axis ends at 1,000.
    assert [float(n) for n in re.findall(r"[\d.]+", drawn[0])][0::2] == [64.0, 338.0, 612.0]
    ticks = [text.text for text in drawings[0].iter("text")]
    assert ticks[:6] == ["0", "200", "400", "600", "800", "1,000"]
    assert ticks[6:11] == ["0.0", "0.2", "0.4", "0.6", "0.8"]


def test_the_table_shows_ours_beside_theirs() -> None:
    screen = io.StringIO()
    Console(width=100, file=screen).print(figures(EVALUATION))
    text = screen.getvalue()
    assert re.search(r"batuta\s+0\.870\s+0\.664", text)
    assert re.search(r"theirs & others'\s+0\.867", text)
    assert "test rows 58,264" in text


def test_json_holds_what_was_measured() -> None:
    told = evaluation_as_json("fraud", WALKED, EVALUATION, 2)
    assert told["metrics"] == {"auc": 0.86956, "ap": 0.66371}
    assert (told["events"], told["events_per_second"]) == (2, 1.0)
    assert told["cpu_us_per_event"] == {"scoring": 12.5}
    assert told["feature_differences"] == 2
    assert "feature_differences" not in evaluation_as_json("fraud", WALKED, EVALUATION, None)


def test_a_feature_that_no_decision_names_differs_everywhere() -> None:
    rows = np.array([1, 2])
    assert differences_of(WALKED, Oracle(("night",), rows, np.array([[1.0], [0.0]]))) == 1
    assert differences_of(WALKED, Oracle(("gone",), rows, np.array([[1.0], [0.0]]))) == 2


def test_a_page_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    save_page(tmp_path / "new" / "page.html", "fraud", WALKED, EVALUATION)
    assert (tmp_path / "new" / "page.html").read_text("utf-8").startswith("<!doctype html>")
    with pytest.raises(UsageError, match="cannot write"):
        save_page(tmp_path, "fraud", WALKED, EVALUATION)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.000"), (-0.5, "-0.500"), (1234.5, "1,234.5"), (7, "7")]
)
def test_figures_are_shown_in_few_digits(value: float, text: str) -> None:
    assert shown(value) == text
