"""`batuta review` from the shell: what is listed, what is hidden, and which verdicts it takes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from batuta.schemas import codec
from batuta.schemas.decision import Decision, ModelAnswer
from batuta.schemas.review import FailedAnswer, ReviewCase, Reviewed, StepCase, Verdict
from batuta.schemas.topics import Topics
from batuta.streams.cli import main
from batuta.streams.publisher import Publisher, Timed
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_admin import declare_topics
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batuta.schemas.record import Output

    Say = Callable[..., tuple[int, str]]

NAME = f"desk_{os.getpid()}"
TOPICS = Topics(NAME)
FILE = f"""\
pipeline: {NAME}
version: 1
source:
  schema: "batuta.schemas.fraud:Transaction"
  id: transaction_id
  key: card_id
  time: event_time
models:
  forest: {{adapter: onnx, inputs: [amount], cost: 0 EUR}}
  analyst: {{kind: human, queue: fraud-review, sla: 1h, cost: 2.50 EUR}}
plans:
  deep: {{cascade: [forest, analyst], stop: "confidence > 0.9"}}
decide:
  - {{otherwise: approve}}
escalate: {{queue: people}}
"""
NOW_MS = time.time_ns() // 1_000_000
DECISION = Decision(
    "tx-0",
    NAME,
    1,
    "default",
    "c3774",
    0,
    NOW_MS,
    "review",
    0.7,
    ("odd",),
    "forest@0",
    {},
    "0" * 64,
)


def question(case_id: str, event_id: str, due_ms: int = NOW_MS + 3_600_000) -> StepCase:
    data = {"transaction_id": event_id, "card_id": "c3774", "amount": 225.41}
    return StepCase(
        case_id, "fraud-review", NOW_MS, due_ms, "analyst", event_id, 0, NAME, 1, "default",
        event_id, "c3774", 0, "deep", data, {"amount": 225.41},
    )  # fmt: skip


#: What a model wrote, as an attacker's text told it to: orders to a terminal are none here.
HOSTILE = "Dear c3774,\nyour refund is \x1b[2Jon its way."
FAILED = FailedAnswer(
    "deep", ("claim_ungrounded",), "claim_ungrounded: refund", "writer@0", HOSTILE, 0.4
)
WRITTEN = ModelAnswer("writer", "writer@0", 0.4, value={"text": "Dear Ada,"}, evidence="Ada asks")
CASES = (
    replace(question("aa01", "tx-1"), failed=FAILED, answers=(WRITTEN,)),
    question("aa02", "tx-2"),
    question("bb03", "tx-3", due_ms=NOW_MS - 1),
)
ANSWERED = Reviewed(
    "aa02", "answered", Verdict("aa02", "block", "ada", NOW_MS), NAME, "default", "tx-2", NOW_MS
)


@pytest.fixture(scope="module")
def bootstrap(embedded_broker: str) -> str:
    """A broker on which cases wait, and no worker."""

    async def prepare() -> None:
        settings = load_settings(bootstrap=embedded_broker)
        await declare_topics(settings, TOPICS)
        review = ReviewCase("cc04", "people", NOW_MS, NOW_MS + 60_000, DECISION)
        outputs: list[Output] = [
            *(codec.encode_step_case(case, TOPICS.escalations) for case in CASES),
            codec.encode_case(review, TOPICS.escalations),
            codec.encode_reviewed(ANSWERED, TOPICS.reviewed),
        ]
        for output in outputs:
            async with Publisher(client_options(settings), output.topic) as publisher:
                await publisher.publish([Timed(NOW_MS, output)])
                await publisher.flush()

    asyncio.run(prepare())
    return embedded_broker


@pytest.fixture
def say(
    bootstrap: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Run `batuta review` and return its exit code and what it printed."""
    file = tmp_path / "desk.yaml"
    file.write_text(FILE)

    def run(command: str, *words: str) -> tuple[int, str]:
        argv = ["batuta", "review", command, str(file), *words, "--bootstrap", bootstrap]
        monkeypatch.setattr(sys, "argv", argv)
        try:
            code = main()
        except SystemExit as left:
            code = int(left.code or 0)
        told = capsys.readouterr()
        return code, told.out or told.err

    return run


def test_what_waits_is_listed_the_earliest_due_first(say: Say) -> None:
    code, out = say("list", "--json")
    cases = json.loads(out)["cases"]
    assert (code, [(one["case_id"], one["standing"]) for one in cases]) == (
        0, [("bb03", "overdue"), ("cc04", "open"), ("aa01", "open")],
    )  # fmt: skip
    _, out = say("list", "--json", "--queue", "people")
    assert [one["case_id"] for one in json.loads(out)["cases"]] == ["cc04"]
    _, out = say("list", "--json", "--all")
    assert [one["standing"] for one in json.loads(out)["cases"]].count("answered") == 1
    assert say("list", "--queue", "nobody") == (1, "no case waits for a verdict\n")


def test_a_case_hides_what_is_personal_unless_it_is_to_be_shown(say: Say) -> None:
    code, out = say("show", "aa01")
    assert (code, "c3774" in out, "225.41" in out) == (0, False, True)
    code, out = say("show", "cc04", "--json")
    assert (code, "c3774" in out, json.loads(out)["standing"]) == (0, False, "open")
    code, out = say("show", "aa01", "--json", "--reveal")
    assert json.loads(out)["data"]["card_id"] == "c3774"
    assert "2 cases begin with aa" in say("show", "aa")[1]


def test_an_answer_that_failed_is_shown_with_why_and_gives_a_terminal_no_orders(say: Say) -> None:
    _, out = say("show", "aa01")
    assert "failed.reasons[0]            claim_ungrounded" in out
    assert "your refund" not in out, "a model may have repeated what is personal"
    assert "Ada" not in out
    assert "answers[0].score             0.4" in out
    _, out = say("show", "aa01", "--reveal")
    begin = "failed.text                  "
    text = f"{begin}Dear c3774,\n{len(begin) * ' '}your refund is \\x1b[2Jon its way.\n"
    assert text in out
    assert "answers[0].value.text        Dear Ada," in out
    _, out = say("show", "aa01", "--reveal", "--json")
    assert json.loads(out)["failed"]["text"] == HOSTILE
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("dd", "no case dd among 4"),
        ("aa02", "case aa02 was answered by ada at"),
        ("bb03", "case bb03 had time until"),
    ],
)
def test_a_verdict_that_would_not_count_is_not_written(say: Say, case: str, said: str) -> None:
    code, out = say("answer", case, "--verdict", "block", "--by", "bob")
    assert code == 1
    assert out.startswith(said)


async def _verdicts(bootstrap: str) -> list[Verdict]:
    options = client_options(load_settings(bootstrap=bootstrap))
    async with TopicReader(options, [TOPICS.verdicts]) as reader:
        read = [record async for records in reader.until_end() for record in records]
    return [codec.decode_verdict(record) for record in read]


def test_a_verdict_is_written_as_it_was_said_and_nobody_took_it_yet(
    say: Say, bootstrap: str
) -> None:
    words = ("--verdict", "approve", "--score", "0.2", "--by", "ada", "--comment", "known")
    code, out = say("answer", "aa01", *words, "--wait", "0", "--json")
    assert (code, json.loads(out)["result"]) == (0, None)
    (verdict,) = asyncio.run(_verdicts(bootstrap))
    assert (verdict.case_id, verdict.verdict, verdict.score, verdict.by, verdict.comment) == (
        "aa01", "approve", 0.2, "ada", "known",
    )  # fmt: skip
    assert say("answer", "aa01", "--verdict", "maybe", "--by", "ada")[0] == 2
