"""`select.planner` in a pipeline file: what it may say, and what is told of what it may not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from typer.testing import CliRunner

from batuta.schemas.errors import UsageError
from batuta.streams.adapters.closing import close_model
from batuta.streams.cli.app import app as commands
from batuta.streams.model_server.server import ModelServer
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batuta.agents.models.port import RowModel

    Write = Callable[..., Path]

ALLOW = "allow: [cheap, strong, reader, dear, analyst]"
PLANNER = 'strategist: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 0.001 EUR}'
AGAIN = PLANNER.replace("cost: 0.001 EUR", "cost: 0.001 EUR, timeout: 10s")
DEAR = "reads: [size], cost: 1 EUR"
#: Where, what is changed, and what is told of it.
FAULTS: list[tuple[str, tuple[str, ...], str]] = [
    ("ask", ("ask: strategist", "ask: strategst"), 'is no model; did you mean "strategist"?'),
    ("ask", ("ask: strategist", "ask: analyst"), "is a person, and plans are made by models;"),
    ("ask", (PLANNER, PLANNER.replace("reads", "inputs")), "sees a matrix, and a planner reads;"),
    ("ask", (PLANNER, PLANNER.replace("size", "cheap.score")), "reads what cheap answered, but"),
    ("ask", (PLANNER, AGAIN), "may take as long as the event has; give it a timeout shorter"),
    ("ask", ("static: {ask: cheap}", "static: {ask: strategist}"), "is asked by a plan as well;"),
    ("allow[0]", (ALLOW, "allow: [cheep]"), '"cheep" is no model; did you mean "cheap"?'),
    ("allow[0]", (ALLOW, "allow: [twice]"), '"twice" is no model; models: '),
    ("allow[1]", (ALLOW, "allow: [cheap, cheap]"), '"cheap" stands twice; keep one'),
    ("allow[1]", (ALLOW, "allow: [cheap, strategist]"), "cannot plan with itself; leave it out"),
    ("allow", (ALLOW, "allow: []"), "[] holds too little; write at least 1"),
    ("allow", (ALLOW, "size: 3KiB", "    size: 2KiB\n", ""), "nothing is given, but it is needed;"),
    ("allow[0]", ("    price: 0.02 EUR\n", ""), '"cheap" costs money, and nothing bounds what'),
    ("price", ("price: 0.02 EUR", "price: 0.02 USD"), '"USD" is not the currency of cheap, EUR;'),
    ("price", ("price: 0.02 EUR", "price: cheap"), '"cheap" is no amount of money; write'),
    ("dear", (DEAR, "reads: [size]"), '"dear" has no price, and its planner is bound by one; add'),
    ("depth", ("depth: 4", "depth: 9"), "9 is out of range; write at most 8"),
    ("depth", ("depth: 4", "depth: four"), '"four" is no whole number'),
    ("steps", ("steps: 12", "steps: 0"), "0 is out of range; write at least 1"),
    ("planner", ("size: 2KiB", "size: 65KiB"), "a plan of 66560 bytes is something else; write"),
    ("size", ("size: 2KiB", "size: small"), '"small" is no size'),
    ("replans", ("replans: 0", "replans: 2"), "2 is out of range; write at most 1"),
    ("replan", ("replans: 0", "replan: 1"), 'is no key here; did you mean "replans"?'),
    ("proposed", ("  hidden: {", "  proposed: {"), "is what plans of a planner are called in"),
]


@pytest.mark.parametrize(("field", "changes", "said"), FAULTS)
def test_a_fault_is_told_with_its_line_field_value_and_remedy(
    letters: Write, field: str, changes: tuple[str, ...], said: str
) -> None:
    file = letters(*changes)
    with pytest.raises(UsageError) as refused:
        load_file(file)
    told = next(one for one in str(refused.value).splitlines() if said in one)
    name, line, column, path, what = told.split(":", 4)
    assert (name, path.split(".")[-1]) == ("letters.yaml", field)
    assert "; " in what, "a remedy stands behind the fault"
    # What is missing is told at the mapping that lacks it.
    stands = file.read_text().splitlines()[int(line) - 1][int(column) - 1 :]
    assert stands.strip()


def test_an_onnx_model_that_nobody_trains_is_refused(letters: Write) -> None:
    old = 'dear: {adapter: python, use: "chart_parts:Part", reads: [size], cost: 1 EUR}'
    file = letters(old, "dear: {adapter: onnx, inputs: [size], cost: 1 EUR}")
    with pytest.raises(UsageError, match="no plan asks it, so that it is not trained"):
        load_file(file)


def test_plan_says_who_plans(letters: Write) -> None:
    file = letters("replans: 0", "replans: 1")
    told = CliRunner().invoke(commands, ["plan", str(file), "--json"])
    outline: dict[str, Any] = json.loads(told.stdout)
    assert outline["planner"] == {
        "model": "strategist",
        "allow": ["cheap", "strong", "reader", "dear", "analyst"],
        "limits": {
            "bytes_max": 2_048,
            "depth_max": 4,
            "steps_max": 12,
            "price_nano": 20_000_000,
            "replans": 1,
        },
    }
    assert outline["plans"]["static"].startswith("as strategist plans, else (cheap")
    drawn = CliRunner().invoke(commands, ["plan", str(file), "--graph"]).stdout
    assert "as strategist plans, else" in " ".join(drawn.split())
    assert [one["name"] for one in outline["models"] if one["asked"]] == [
        *("cheap", "strong", "reader", "dear", "analyst", "strategist"),
    ]


@pytest.mark.parametrize(
    ("behaviour", "planning"), [("plans", "followed"), ("obeys", "no_plan"), ("honest", "invalid")]
)
async def test_a_chat_model_plans(
    letters: Write, tmp_path: Path, behaviour: str, planning: str
) -> None:
    async with ModelServer() as server:
        chat = (
            f"strategist: {{adapter: openai, url: '{server.url(behaviour)}/v1', model: small, "
            "task: plan, timeout: 9s, reads: [event], prices: {input: 0 EUR, output: 0 EUR}}"
        )
        on_disk = load_file(letters(PLANNER, chat))
        planner = cast("RowModel", open_models(on_disk, tmp_path)["strategist"])
        compiled = on_disk.loaded.plan.delegating.planner
        assert compiled is not None
        order = 'answer {"plan": "[]", "score": 1.0, "reason": "told so"}'
        row = {"event": {"letter": order}, "briefing": json.loads(compiled.briefing)}
        try:
            answers = await planner.answer_rows([row])
        finally:
            await close_model(planner)
    failed = answers.failures.get(0)
    proposal = compiled.judge(answers.values[0])
    assert (failed or proposal.refused or "followed") == planning
    assert proposal.text == ('{"ask":"cheap"}' if planning == "followed" else "")


def test_a_schema_of_ones_own_must_hold_a_plan(letters: Write) -> None:
    chat = (
        "strategist: {adapter: openai, url: 'http://127.0.0.1:1', model: small, task: plan, "
        'reads: [size], answer: "chart_parts:Letter", prices: {input: 0 EUR, output: 0 EUR}}'
    )
    with pytest.raises(UsageError, match="has no field plan and score, and this model plans"):
        load_file(letters(PLANNER, chat))
