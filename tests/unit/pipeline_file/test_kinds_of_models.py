"""Each kind of model runs in a pipeline that ships: the page says where, and it is so."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from batuta.agents.asking_people_testing import decided_with_people
from batuta.agents.conductor import Conductor
from batuta.agents.models.answers import Answers
from batuta.agents.reasons import NoReasons
from batuta.agents.support.auditor import Auditor
from batuta.agents.support.cleaner import Cleaner
from batuta.agents.support.generator import message_samples
from batuta.agents.support.intake import Intake
from batuta.agents.support.steward import Steward
from batuta.schemas.errors import ModelFailedError
from batuta.schemas.ingested import Ingested
from batuta.schemas.model_version import KINDS
from batuta.schemas.support import SupportMessage
from batuta.streams.adapters.closing import close_model
from batuta.streams.adapters.python import PythonModelPlan, PythonRowModel
from batuta.streams.model_server.server import ModelServer
from batuta.streams.pipelines.finding import SHIPPED, find_pipeline
from batuta.streams.pipelines.opening import open_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batuta.schemas.decision import Decision

PAGE: Final = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
ROW: Final = re.compile(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|", re.MULTILINE)
URGENT: Final = "Our whole shop is down since this morning, this is urgent!"
ROUTINE: Final = "Thank you, it works again and we are happy."
UNCLEAR: Final = "It is down sometimes, my phone is 600 123 456 789."


def test_the_page_says_where_each_kind_runs_and_it_does() -> None:
    table = PAGE.partition("## Kinds")[2].partition("\n## ")[0]
    rows = {kind: where for kind, *where in ROW.findall(table)}
    assert tuple(rows) == KINDS
    for kind, (pipeline, model, adapter) in rows.items():
        entry = find_pipeline(pipeline.strip("`")).document.file.models[model.strip("`")]
        assert (entry.kind, entry.adapter) == (kind, adapter.strip("`"))
    files = [find_pipeline(name).document.file for name in SHIPPED]
    found = {entry.kind for file in files for entry in file.models.values()}
    assert found == {*KINDS}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


async def decided(model_dir: Path, *texts: str, said: float | None = None) -> list[Decision]:
    """Let the whole support pipeline decide about messages; its chat model is a real server.

    Args:
        model_dir: where the model of intents is kept.
        texts: of the messages.
        said: what the person says whom it asks; None: they have no time.
    """
    on_disk = find_pipeline("support")
    models = open_models(on_disk, model_dir)
    loaded = on_disk.loaded
    try:
        conductor = Conductor(loaded.pipeline, models, NoReasons(), loaded.deciding)
        known = {"recent_count_1h": 1.0, "recent_count_1d": 1.0}
        events = [
            Ingested(f"m{n}", "k1", "k1", 1_000, 7, "default", {"text": text}, known)
            for n, text in enumerate(texts)
        ]
        return await decided_with_people(conductor, events, lambda _: said)
    finally:
        for model in models.values():
            await close_model(model)


async def test_all_kinds_work_on_one_message(
    monkeypatch: pytest.MonkeyPatch, model_dir: Path
) -> None:
    async with ModelServer() as server:
        monkeypatch.setenv("SUPPORT_CHAT_URL", server.url("honest") + "/v1")
        urgent, routine, unclear, noise = await decided(
            model_dir, URGENT, ROUTINE, UNCLEAR, "????", said=1.0
        )
    assert [one.outcome for one in (urgent, routine, unclear, noise)] == [
        "block",
        "approve",
        "block",
        "review",
    ]
    asked = {answer.name for answer in unclear.answers}
    judging = {"intake", "cleaner", "classifier", "reader", "clerk", "auditor", "steward"}
    assert asked == judging | {"intents", "policies", "drafter"}
    assert "reader" not in {answer.name for answer in urgent.answers}, "the classifier was sure"
    assert sum(answer.cost_nano for answer in unclear.answers) > 1_800_000_000


@pytest.mark.parametrize(("said", "outcome"), [(1.0, "block"), (0.0, "approve"), (None, "review")])
async def test_a_person_decides_what_nobody_is_sure_of_and_without_them_the_best_answer_counts(
    monkeypatch: pytest.MonkeyPatch, model_dir: Path, said: float | None, outcome: str
) -> None:
    async with ModelServer() as server:
        monkeypatch.setenv("SUPPORT_CHAT_URL", server.url("honest") + "/v1")
        (unclear,) = await decided(model_dir, UNCLEAR, said=said)
    assert (unclear.outcome, unclear.fallback) == (outcome, said is None)
    told = {answer.name: answer for answer in unclear.answers}
    assert (told["clerk"].score, told["clerk"].failure) == (
        said,
        "" if said is not None else "timeout",
    )
    assert (told["auditor"].score == 1.0) is (said is not None)


async def test_without_the_language_model_a_person_or_the_classifier_decides(
    monkeypatch: pytest.MonkeyPatch, model_dir: Path
) -> None:
    async with ModelServer() as server:
        monkeypatch.setenv("SUPPORT_CHAT_URL", server.url("misfits") + "/v1")
        urgent, routine, unclear = await decided(model_dir, URGENT, ROUTINE, UNCLEAR)
    assert (urgent.outcome, routine.outcome) == ("block", "approve")
    assert unclear.outcome in {"review", "block"}
    failures = {answer.name: answer.failure for answer in unclear.answers}
    assert failures["reader"] == "invalid"


def test_samples_are_of_our_schema_and_the_same_each_time() -> None:
    samples = list(islice(message_samples(3, 1_000), 500))
    assert samples == list(islice(message_samples(3, 1_000), 500))
    messages = [SupportMessage.model_validate_json(sample.data) for sample in samples]
    assert len({message.message_id for message in messages}) == 500
    assert [m.message_id for m in messages] == [sample.event_id for sample in samples]
    assert {True, False} == {sample.positive for sample in samples}


def test_nobody_else_reads_what_the_cleaner_takes_out() -> None:
    text = "> quoted\nWrite to a@b.example or https://x.example/?k=1, call 600 123 456 789."
    answers = Cleaner().answer_rows([{"event.text": text}])
    assert answers.values == [
        {"text": "Write to [address] or [link] call [number]."},
    ]


def test_what_is_no_message_or_not_agreed_on_is_for_a_person() -> None:
    scores = Intake().answer_rows([{"event.text": "????"}, {"event.text": ROUTINE}]).scores
    assert scores.tolist() == [0.1, 0.95]
    row = {
        "cleaner.value": {"text": "down"},
        "classifier.score": 0.9,
        "reader.score": 0.1,
        "clerk.score": np.nan,
    }
    assert Auditor().answer_rows([row]).scores.tolist() == pytest.approx([0.2])
    silent = {**row, "cleaner.value": None}
    assert Auditor().answer_rows([silent]).scores.tolist() == [0.0]
    assert Auditor().answer_rows([{**row, "clerk.score": 0.1}]).scores.tolist() == [1.0]
    told = {
        "intake.score": 0.95,
        "classifier.score": 0.1,
        "reader.score": np.nan,
        "clerk.score": np.nan,
    }
    doubtful = {**told, "intake.score": 0.1}
    steward = Steward().answer_rows([told, doubtful, {**doubtful, "clerk.score": 0.0}])
    assert steward.scores.tolist() == [0.1, 0.5, 0.0]


class Odd:
    """Answers what it is made with."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def answer_rows(self, rows: Sequence[Mapping[str, object]]) -> Answers:
        del rows
        return self._answer  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    "answer", [None, [0.5], Answers(np.array([0.5]), values=[{1, 2}])], ids=["none", "list", "set"]
)
async def test_a_part_that_answers_nonsense_has_no_answer(answer: object) -> None:
    model = PythonRowModel(Odd(answer), PythonModelPlan("odd", "odd@1", ("event.text",), 60_000))
    with pytest.raises(ModelFailedError, match="invalid: odd"):
        await model.answer_rows([{"event.text": ""}])
