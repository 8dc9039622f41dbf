"""`batuta plan` shows what the stages really do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from batuta.agents.budgets.rule import BudgetRule
from batuta.schemas.errors import UsageError
from batuta.schemas.topics import Topics
from batuta.streams.app import LaneApp
from batuta.streams.cli.app import app as commands
from batuta.streams.house import House
from batuta.streams.lifecycle import STAGE_NAMES, stages_to_run
from batuta.streams.pipelines.finding import find_pipeline
from batuta.streams.pipelines.graph import as_svg, as_text
from batuta.streams.pipelines.outline import outline_of, stages_of, topics_of
from batuta.streams.settings import load_settings
from batuta.streams.stages import ROUTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batuta.agents.models.port import Matrix, Scores

FRAUD = find_pipeline("fraud")
TOPICS, STAGES = topics_of(FRAUD.loaded.plan), stages_of(FRAUD)
BUDGET = BudgetRule("daily", 50_000_000_000, "EUR")
SVG = "{http://www.w3.org/2000/svg}"


class Silent:
    name = "silent"
    version = "silent@000000000000"
    inputs: tuple[str, ...] = ()

    async def answer(self, inputs: Matrix) -> Scores:
        return np.zeros(len(inputs))


async def test_the_stages_are_the_real_ones() -> None:
    names = [spec.name for spec in Topics("fraud").declared(4)]
    app = LaneApp(
        load_settings(bootstrap="127.0.0.1:9092"), dict.fromkeys(names, 4), CollectorRegistry()
    )
    for stage in ROUTE:
        stage(app, House(FRAUD.loaded, Silent(), ()))
    real = [source.stage for source in app.sources]
    assert [(s.name, s.group, s.inputs, s.changelog or "") for s in real] == [
        (s.name, s.group, s.reads, s.state) for s in STAGES
    ]
    declared = {name for name in names if "-" not in name and not name.endswith(".redriven")}
    # Nobody is asked in this pipeline, so nobody answers.
    assert {topic.name for topic in TOPICS} == declared - {"fraud.answers"}


@pytest.mark.parametrize("name", ["fraud", "support"])
@pytest.mark.parametrize("budgets", [(), (BUDGET,)], ids=["free", "paid"])
def test_what_a_pipeline_has_no_use_for_is_none_of_its_stages(
    name: str, budgets: tuple[BudgetRule, ...]
) -> None:
    on_disk = find_pipeline(name)
    loaded = replace(on_disk.loaded, plan=replace(on_disk.loaded.plan, budgets=budgets))
    stages = loaded.stages
    assert stages == tuple(one.name for one in stages_of(replace(on_disk, loaded=loaded)))
    assert ("budgeting" in stages, "learning" in stages) == (bool(budgets), name == "fraud")
    assert stages_to_run(None, [loaded, FRAUD.loaded]) == tuple(
        name for name in STAGE_NAMES if name != "budgeting" or budgets
    )
    if not budgets:
        known = ",".join(stages)
        with pytest.raises(UsageError, match=f"'budgeting', no stage of {name}: .* {known}"):
            stages_to_run(["scoring", "budgeting"], [loaded])


def test_the_outline_says_where_each_feature_is_computed() -> None:
    outline = outline_of(FRAUD)
    assert json.loads(json.dumps(outline)) == json.loads(json.dumps(outline, default=str))
    placed = {one.name: (one.stage, one.key) for one in FRAUD.loaded.plan.features}
    assert placed["card_mean_amount_7d"] == ("ingestion", "card_id")
    assert placed["terminal_count_1d"] == ("scoring", "terminal_id")
    assert placed["night"] == ("scoring", "")


def test_the_text_names_every_topic_and_stage_once_in_full() -> None:
    text = as_text(TOPICS, STAGES)
    for stage in STAGES:
        assert text.count(f"[{stage.name}]\n") == 1
    assert "score >= 0.6: block, block_card" in text
    assert text.index("fraud.events") < text.index("[ingestion]") < text.index("fraud.ingested")


def test_the_drawing_is_svg_whose_boxes_do_not_touch() -> None:
    root = ET.fromstring(as_svg("fraud", TOPICS, STAGES))
    texts = {"".join(node.itertext()) for node in root.iter(f"{SVG}text")}
    assert {stage.name for stage in STAGES} <= texts
    boxes = boxes_of(root)
    assert len(boxes) == 19
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for number, (x, y, w, h) in enumerate(boxes):
        assert x + w <= width
        assert y + h <= height
        for x2, y2, w2, h2 in boxes[:number]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_no_line_of_the_drawing_runs_behind_a_box() -> None:
    root = ET.fromstring(as_svg("fraud", TOPICS, STAGES))
    paths = [node.attrib["d"] for node in root.iter(f"{SVG}path") if "edge" in node.attrib.values()]
    assert len(paths) > 15
    for path in paths:
        for x, y in points_of(path):
            for left, top, width, height in boxes_of(root):
                inside = left + 1 < x < left + width - 1 and top + 1 < y < top + height - 1
                assert not inside, path


def boxes_of(root: ET.Element) -> list[tuple[float, ...]]:
    return [
        tuple(float(node.attrib[name]) for name in ("x", "y", "width", "height"))
        for node in root.iter(f"{SVG}rect")
        if node.attrib.get("class") in {"stage", "topic"}
    ]


def points_of(path: str) -> Iterator[tuple[float, float]]:
    """Yield points of a path of straight lines and cubic curves, close to each other."""
    at = (0.0, 0.0)
    for letter, numbers in re.findall(r"([MLC])([-\d., ]+)", path):
        values = [float(one) for one in re.findall(r"-?[\d.]+", numbers)]
        towards = list(zip(values[0::2], values[1::2], strict=True))
        knots = [at, *towards] if letter == "C" else [at, at, towards[0], towards[0]]
        for step in range(51) if letter != "M" else ():
            t = step / 50
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            x = sum(weight * knot[0] for weight, knot in zip(weights, knots, strict=True))
            y = sum(weight * knot[1] for weight, knot in zip(weights, knots, strict=True))
            yield x, y
        at = towards[-1]


def test_a_graph_is_text_where_no_form_is_named() -> None:
    told = [
        CliRunner().invoke(commands, ["plan", *words]).stdout
        for words in (["fraud", "--graph"], ["--graph", "fraud"], ["fraud", "--graph", "text"])
    ]
    assert told[0].startswith("fraud.events")
    assert told[0] == told[1] == told[2]
    drawn = CliRunner().invoke(commands, ["plan", "fraud", "--graph", "svg"]).stdout
    assert drawn.startswith("<svg")


def test_a_name_in_the_file_cannot_break_the_drawing(parcels: Callable[..., Path]) -> None:
    file = parcels("'block'\"", "'block' || outcome < '<&'\"")
    loaded = find_pipeline(str(file))
    drawn = as_svg("<&", topics_of(loaded.loaded.plan), stages_of(loaded))
    assert ET.fromstring(drawn).tag == f"{SVG}svg"


def test_json_is_one_object_and_a_schema_needs_no_pipeline() -> None:
    told = CliRunner().invoke(commands, ["plan", "fraud", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["pipeline"] == "fraud"
    schema = CliRunner().invoke(commands, ["plan", "--schema"])
    assert json.loads(schema.stdout)["$id"] == "urn:batuta:pipeline-file:v1"


def test_a_pipeline_that_is_not_there_is_said_so() -> None:
    with pytest.raises(UsageError, match=r"'fruad' \(did you mean fraud\?\).*path, such as"):
        find_pipeline("fruad")
    with pytest.raises(UsageError, match=r"gone\.yaml: No such file"):
        find_pipeline("./gone.yaml")
