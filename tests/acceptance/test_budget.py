"""A worker whose models may cost so much and no more: what is left over goes to a person.

And its budget as people see it: shown and set by the command, while the worker runs.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from batuta.schemas.budget_limit import BudgetLimit
from batuta.schemas.codec import decode_decision, decode_notification
from batuta.schemas.control_codec import encode_budget_limit
from batuta.schemas.errors import RegistryMovedError
from batuta.schemas.pipeline_file.quantities import Money
from batuta.streams.budget_desk import BudgetDesk
from batuta.streams.house import House
from batuta.streams.lifecycle import Worker
from batuta.streams.pipelines.loading import load_file
from batuta.streams.pipelines.opening import open_models
from batuta.streams.registry.sole_writer import sole_writer, write_alone
from batuta.streams.settings import client_options, load_settings
from batuta.streams.topic_reader import TopicReader

if TYPE_CHECKING:
    from pathlib import Path

    from batuta.schemas.decision import Decision
    from batuta.schemas.notification import Notification

PATIENCE_S = 120.0
EVENTS = 60
#: So many answers the budget buys.
BOUGHT = 20
FILE = """\
pipeline: spent
version: 1
source: {schema: "spent_parts:Trial", id: trial, key: key, time: at}
models:
  oracle: {adapter: python, use: "spent_parts:Oracle", inputs: [size], cost: 0.01 EUR}
deadline: 60s
budget: {limit: 0.20 EUR, per: month, at: {50%: warn, 100%: stop}}
decide:
  - {when: "score > 0.9", outcome: block}
  - {otherwise: approve, reason: fine}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel

from batuta.schemas.times import EventTime

ASKED = []


class Trial(BaseModel):
    trial: str
    key: str
    at: EventTime
    size: float


class Oracle:
    def answer(self, inputs):
        ASKED.append(len(inputs))
        return np.full(len(inputs), 0.25)
"""
#: Of the command for limits, and what is said of each.
REFUSED = (
    (("set", "0.50 USD"), "limit: '0.50 USD' is not in the currency of the budget monthly; write"),
    (
        ("set", "0.50"),
        'limit: "0.50" is no amount of money; write a number, a space and a currency',
    ),
    (("set", "5 EUX"), '"5 EUX" is in no currency; write a code of ISO 4217, such as EUR; file is'),
    (("set", "-1 EUR"), "No such option"),
    (
        ("set", "1 EUR", "--budget", "daily"),
        "'daily' is no budget of spent; choose one of: monthly",
    ),
    (("set", "1 EUR", "--tenant", "acme"), "tenants share the budget monthly; leave out --tenant"),
    (("show", "--budget", "daily"), "'daily' is no budget of spent; choose one of: monthly"),
)


async def test_no_model_is_asked_beyond_the_budget(embedded_broker: str, tmp_path: Path) -> None:
    (tmp_path / "spent_parts.py").write_text(PARTS)
    (tmp_path / "pipeline.yaml").write_text(FILE)
    on_disk = load_file(tmp_path / "pipeline.yaml")
    settings = load_settings(bootstrap=embedded_broker, partitions=1)
    worker = Worker(settings, House(on_disk.loaded, open_models(on_disk, tmp_path)))
    try:
        await worker.start()
        await asyncio.wait_for(worker.wait_ready(), PATIENCE_S)
        _publish(embedded_broker)
        decisions, told = await _heard(embedded_broker)
        await _look_and_set(Shell(embedded_broker, tmp_path / "pipeline.yaml"))
    finally:
        await worker.stop()
    parts: Any = importlib.import_module("spent_parts")
    answered = [one for one in decisions if one.reasons == ("fine",)]
    unpaid = [one for one in decisions if one.reasons[0] == "budget_spent"]
    assert len(answered) + len(unpaid) == EVENTS
    assert 0 < sum(parts.ASKED) == len(answered) <= BOUGHT
    assert {one.outcome for one in unpaid} == {"review"}
    assert {one.answers[0].cost_nano for one in answered} == {10_000_000}
    assert {one.answers[0].failure for one in unpaid} == {"budget_spent"}
    assert {one.labels["rung"] for one in told if "budget" in one.labels} == {"warn", "stop"}


async def _look_and_set(shell: Shell) -> None:
    """Do with the budget what people do; it is used up."""
    code, shown, _ = await shell.run("show")
    (budget,) = shown["budgets"]
    assert (code, budget["budget"], budget["tenant"], budget["per"]) == (
        0,
        "monthly",
        None,
        "month",
    )
    assert (budget["limit"], budget["left"], budget["step"]) == ("0.2 EUR", "0 EUR", "stop")
    assert (budget["set_at"], budget["warning"]) == (None, None)

    code, told, _ = await shell.run("set", "0.10 EUR", "--instead-of", "0.20 EUR")
    assert (code, told["limit"], told["before"], told["taken"]) == (0, "0.1 EUR", "0.2 EUR", True)
    assert told["warning"].startswith("0.2 EUR are spent or leased already, more than 0.1 EUR: ")
    code, _, said = await shell.run("set", "0.30 EUR", "--instead-of", "0.20 EUR")
    assert (code, "the limit of monthly is 0.1 EUR, expected 0.20 EUR" in said) == (1, True)

    desk = BudgetDesk(load_file(shell.file).loaded, load_settings(bootstrap=shell.bootstrap))
    async with sole_writer(load_settings(bootstrap=shell.bootstrap), "batuta-budgets") as first:
        second = await desk.set_limit("monthly", Money(Decimal("0.50"), "EUR"), None, PATIENCE_S)
        assert second.taken
        limit = BudgetLimit(
            pipeline="spent", budget="monthly", limit="9 EUR", set_at=datetime.now(UTC)
        )
        with pytest.raises(RegistryMovedError, match="look, then decide again"):
            await write_alone(first, [encode_budget_limit(limit)], "look, then decide again")
    code, shown, _ = await shell.run("show")
    assert shown["budgets"][0]["limit"] == "0.5 EUR"
    assert shown["budgets"][0]["set_at"] is not None
    code, told, _ = await shell.run("set", "file")
    assert (code, told["limit"], told["before"]) == (0, "0.2 EUR", "0.5 EUR")
    code, text, _ = await shell.run("show", as_json=False)
    assert (code, "monthly          0.2 EUR per month\n" in text) == (0, True)
    assert "\n  step           stop\n" in text
    for words, said in REFUSED:
        code, _, error = await shell.run(*words)
        assert (code, said in error) == (2, True), error


@dataclass
class Shell:
    """Runs `batuta budget` as a shell does."""

    bootstrap: str
    file: Path

    async def run(self, command: str, *words: str, as_json: bool = True) -> tuple[int, Any, str]:
        """Return the exit code, what was printed, and what was said beside."""
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-c",
                "import sys; from batuta.streams.cli import main; sys.exit(main())",
            ),
            *("budget", command, str(self.file), *words, "--bootstrap", self.bootstrap),
            *(("--json",) if as_json else ()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await process.communicate()
        assert process.returncode is not None
        told = json.loads(out) if as_json and out else out.decode()
        return process.returncode, told, error.decode()


def _publish(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for number in range(EVENTS):
        trial = {"trial": f"t-{number}", "key": f"k{number % 3}", "size": 1.0}
        value = json.dumps({**trial, "at": "2024-01-01T00:00:00Z"})
        producer.produce("spent.events", value, str(trial["key"]))
    assert producer.flush(30) == 0


async def _heard(bootstrap: str) -> tuple[list[Decision], list[Notification]]:
    """Return every decision, and what people were told until the budget was used up."""
    options = client_options(load_settings(bootstrap=bootstrap))
    decisions: dict[str, Decision] = {}
    told: list[Notification] = []
    topics = ["spent.decisions", "spent.notifications"]
    async with TopicReader(options, topics) as reader, asyncio.timeout(PATIENCE_S):
        while len(decisions) < EVENTS or not any("stop" in one.title for one in told):
            for record in await reader.poll():
                if record.topic == "spent.decisions":
                    decision = decode_decision(record)
                    assert decision.event_id not in decisions, "decided twice"
                    decisions[decision.event_id] = decision
                else:
                    told.append(decode_notification(record))
    return list(decisions.values()), told
