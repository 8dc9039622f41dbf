"""A pipeline file opens models that a server answers for, keys and addresses from outside."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from batuta.agents.delegation.breaker import BreakerRule
from batuta.agents.delegation.bulkhead import BulkheadRule
from batuta.agents.models.answers import Answers
from batuta.schemas.errors import UsageError
from batuta.streams.adapters.alias import original
from batuta.streams.adapters.closing import close_model
from batuta.streams.model_server.behaviours import honest_score
from batuta.streams.model_server.server import ModelServer
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models
from batuta.streams.pipelines.sharing import Shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batuta.agents.models.port import Model, RowModel

    Write = Callable[..., Path]

SCALES = 'adapter: python, use: "parcel_parts:Scales"'
INFERENCE = 'adapter: open-inference, url: "${SCALES_URL}", key: "${SCALES_KEY}", cost: 0.002 EUR'
CHAT = (
    'adapter: openai, url: "${SCALES_URL}", model: small, task: "Weigh it.",'
    " prices: {input: 1 EUR, output: 2 EUR}"
)
ROWS = np.array([[0.5, -0.5, 0, 0, 0], [1, 0, 0, 0, 0]], np.float32)


async def answered(file: Path, folder: Path) -> Answers:
    model = cast("Model", open_models(load_file(file), folder)["scales"])
    try:
        answers = await model.answer(ROWS)
    finally:
        await close_model(model)
    assert isinstance(answers, Answers)
    return answers


@pytest.mark.parametrize(("entry", "path"), [(INFERENCE, ""), (CHAT, "/v1")])
async def test_a_served_model_answers_with_its_price(
    parcels: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, path: str
) -> None:
    async with ModelServer() as server:
        monkeypatch.setenv("SCALES_URL", server.url("honest") + path)
        monkeypatch.setenv("SCALES_KEY", "hush")
        file = parcels("timeout: 20ms", "timeout: 60s")
        file.write_text(file.read_text().replace(SCALES, entry))
        answers = await answered(file, tmp_path)
    assert answers.scores.tolist() == pytest.approx([0.5, honest_score([1.0])])
    assert answers.currency == "EUR"
    assert answers.cost_nano == 4_000_000 if entry == INFERENCE else answers.cost_nano > 0


OPEN = '18:36: models.scales.url: "${SCALES_URL}" would carry the key in the open; write https://'
NOWHERE = (
    '18:36: models.scales.url: "${SCALES_URL}" holds no address;'
    " write http:// or https:// and a host, no user"
)
UNSET = '18:36: models.scales.url: "${SCALES_URL}" is not set; export SCALES_URL'
KEYLESS = '18:58: models.scales.key: "${SCALES_KEY}" is not set; export SCALES_KEY'


@pytest.mark.parametrize(
    ("set_to", "said"),
    [
        (("", "hush"), UNSET),
        (("http://127.0.0.1:1", ""), KEYLESS),
        (("ftp://me:pass@far/", "hush"), NOWHERE),
        (("http://far.example/", "hush"), OPEN),
    ],
)
def test_what_the_environment_lacks_is_told_with_its_line(
    parcels: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    set_to: tuple[str, str],
    said: str,
) -> None:
    for name, value in zip(("SCALES_URL", "SCALES_KEY"), set_to, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as refused:
        open_models(load_file(parcels(SCALES, INFERENCE)), tmp_path)
    assert str(refused.value) == f"parcels.yaml:{said}"


READING = CHAT + ", reads: [event.parcel, weight], timeout: 60s"


async def test_a_language_model_reads_what_its_entry_names(
    parcels: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parcels()
    entry = '{adapter: python, use: "parcel_parts:Scales", inputs: [weight, senders, both], '
    file.write_text(file.read_text().replace(f"{entry}timeout: 20ms}}", f"{{{READING}}}"))
    async with ModelServer() as server:
        monkeypatch.setenv("SCALES_URL", server.url("honest") + "/v1")
        model = cast("RowModel", open_models(load_file(file), tmp_path)["scales"])
        assert model.reads == ("event.parcel", "weight")
        try:
            answers = await model.answer_rows([{"event.parcel": "p1", "weight": 0.5}])
        finally:
            await close_model(model)
    assert answers.scores.tolist() == pytest.approx([honest_score([0.5])])


def test_a_served_model_is_guarded_as_its_entry_says_or_by_itself(parcels: Write) -> None:
    file = parcels(
        "timeout: 20ms", "timeout: 40s, breaker: {failures: 20%, over: 50s}, hedge: true"
    )
    file.write_text(file.read_text().replace(SCALES, INFERENCE))
    terms = load_file(file).loaded.plan.delegating.terms["scales"]
    assert terms.breaker == BreakerRule(0.2, 50_000, 20, 10_000)
    assert terms.bulkhead == BulkheadRule(64, 256)
    assert (terms.retry, terms.hedge) == (None, True)
    file.write_text(file.read_text().replace(", breaker: {failures: 20%, over: 50s}", ""))
    terms = load_file(file).loaded.plan.delegating.terms["scales"]
    assert terms.breaker == BreakerRule(0.5, 40_000, 20, 10_000), "a call fits into its window"


def test_a_model_of_this_process_is_asked_as_it_comes(parcels: Write) -> None:
    plan = load_file(parcels("version: 3", "version: 3\ndeadline: 2s")).loaded.plan
    assert not plan.delegating.terms["scales"].guarded
    assert plan.pipeline.parking.deadline_ms == 2_000


LISTED = 'adapter: open-inference, url: "${SCALES_URL}", model: bridge, timeout: 60s'


async def test_what_is_the_same_in_two_pipelines_is_opened_once_and_asked_in_one_request(
    parcels: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parcels("version: 3", "version: 3\nprice_list: prices.yaml")
    (file.parent / "prices.yaml").write_text("bridge: {cost: 0.002 EUR}")
    text = file.read_text().replace(f"{SCALES}", LISTED).replace(", timeout: 20ms", "")
    file.write_text(text)
    other = file.parent / "crates.yaml"
    renamed = text.replace("pipeline: parcels", "pipeline: crates").replace("ask: scales", "ask: w")
    other.write_text(renamed.replace("  scales:\n", "  w:\n"))
    async with ModelServer() as server:
        monkeypatch.setenv("SCALES_URL", server.url("honest"))
        shared = Shared()
        mine = open_models(load_file(file), tmp_path, shared=shared)["scales"]
        theirs = open_models(load_file(other), tmp_path, shared=shared)["w"]
        assert (mine.name, theirs.name) == ("scales", "w")
        assert (mine.version, theirs.version) == ("scales@served", "w@served")
        assert original(theirs) is mine
        both = cast("list[Model]", [mine, theirs])
        answered = await asyncio.gather(*(model.answer(ROWS) for model in both))
        assert server.behaviours.calls["honest"] == 1
        for model in both:
            await close_model(model)
    for answers in answered:
        assert isinstance(answers, Answers)
        assert answers.scores.tolist() == pytest.approx([0.5, honest_score([1.0])])
        assert (answers.cost_nano, answers.currency) == (4_000_000, "EUR")
    terms = load_file(file).loaded.plan.delegating.terms["scales"]
    assert shared.places(mine, terms) is shared.places(theirs, terms) is not None
    assert shared.places(mine, replace(terms, timeout_ms=1)) is not shared.places(theirs, terms)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (None, 'parcels.yaml:3:13: price_list: "prices.yaml" cannot be read'),
        ("", "prices.yaml:1:1: null is no mapping; write NAME: {cost"),
        ("[1]", "is no mapping; write NAME: {cost: 0.0008 EUR}"),
        ("bridge: 3 EUR", 'prices.yaml:1:9: bridge: "3 EUR" is no price; write NAME'),
        ("bridge: {cost: free}", 'prices.yaml:1:16: bridge.cost: "free"'),
        ("bridge: {input: 1 EUR}", "says half of a price"),
        ("bridge: {price: 1 EUR}", 'prices.yaml:1:17: bridge.price: "1 EUR" is no price'),
        (
            "ferry: {cost: 1 EUR}",
            "parcels.yaml:19:5: models.scales: its price is missing; add bridge: {cost: 0 EUR}",
        ),
    ],
)
def test_a_price_list_that_is_wrong_is_told_with_its_line(
    parcels: Write, listed: str | None, said: str
) -> None:
    file = parcels("version: 3", "version: 3\nprice_list: prices.yaml")
    prices = file.parent / "prices.yaml"
    prices.unlink(missing_ok=True)
    if listed is not None:
        prices.write_text(listed)
    file.write_text(file.read_text().replace(SCALES, LISTED).replace(", timeout: 20ms", ""))
    with pytest.raises(UsageError) as refused:
        load_file(file)
    assert said in str(refused.value)
