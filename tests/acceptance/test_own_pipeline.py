"""A pipeline of one's own, outside the checkout: schema, model, feature, check, sink, samples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
EVENTS = 400

FILE = """\
pipeline: letters
version: 1
source:
  schema: "letter_parts:Letter"
  id: letter
  key: sender
  time: at
understand:
  - senders: {by: sender, count: [1h], mean: {grams: [1h, 1d]}}
  - offices: {by: office, count: [1h]}
  - context: {heavy: "grams > 500.0", many: "senders_count_1h > 3.0 && heavy"}
  - ratio: {use: "letter_parts:Ratio", with: {usual_grams: 20.0}}
models:
  scales:
    adapter: python
    use: "letter_parts:Scales"
    with: {limit: 1000.0}
    inputs: [grams, senders, offices, ratio]
    timeout: 30s
verify:
  - {use: "letter_parts:Sane", reason: too_sure}
decide:
  - {when: "score > 0.8 && heavy", outcome: block, action: hold, reason: too_heavy}
  - {when: "score > 0.5 || event.office == 'o3'", outcome: review}
  - {otherwise: approve}
actions:
  hold: {version: 3}
escalate: {queue: counter, due: 2h}
notify:
  - {when: "outcome == 'block'", severity: critical, title: held}
sinks:
  ledger: {use: "letter_parts:Ledger", with: {file: "LEDGER"}}
samples: "letter_parts:samples"
"""
PARTS = """\
from typing import Annotated

import json
import random

import numpy as np
from pydantic import BaseModel, Field

from batuta.agents.samples import SampleEvent
from batuta.schemas.times import EventTime, rfc3339


class Letter(BaseModel):
    letter: str
    sender: str
    office: str
    at: EventTime
    grams: Annotated[float, Field(ge=0, le=1e6)]


class Ratio:
    names = ("ratio_grams",)

    def __init__(self, usual_grams):
        self.usual_grams = usual_grams

    def compute(self, events):
        values = [[event.data["grams"] / self.usual_grams] for event in events]
        return np.array(values).reshape(-1, 1)


class Scales:
    def __init__(self, limit):
        self.limit = limit

    def answer(self, inputs):
        return np.clip(inputs[:, 0] / self.limit, 0.0, 1.0)


class Sane:
    def passes(self, scores, features):
        return scores < 0.995


class Ledger:
    channel = "ledger"

    def __init__(self, file):
        self.file = file

    async def deliver(self, notification):
        with open(self.file, "a") as ledger:
            ledger.write(json.dumps([notification.notification_id, notification.title]) + chr(10))

    async def close(self):
        pass


def samples(seed, now_ms, clock=None):
    dice = random.Random(seed)
    number = 0
    while True:
        moment = clock() if clock else now_ms - 3_600_000 + 10 * (number % 300_000)
        name, key = f"l-{seed}-{number}", f"s-{seed}-{dice.randrange(20)}"
        letter = {
            "letter": name,
            "sender": key,
            "office": f"o{dice.randrange(5)}",
            "at": rfc3339(moment),
            "grams": round(dice.choice([20.0, 400.0, 900.0, 2000.0]) * dice.random(), 2),
        }
        yield SampleEvent(name, key, json.dumps(letter).encode(), b"{}", False)
        number += 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    (folder / "pipeline.yaml").write_text(FILE.replace("LEDGER", str(folder / "ledger.jsonl")))
    (folder / "letter_parts.py").write_text(PARTS)
    return folder


def batuta(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BATUTA_")}
    return subprocess.run(
        [BIN / "batuta", *words],
        cwd=folder.parent,
        env={**ours, "NO_COLOR": "1", "BATUTA_MODEL_DIR": str(folder / "models")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def demonstrated(folder: Path) -> dict[str, object]:
    done = batuta(
        folder, "demo", str(folder), "--events", str(EVENTS), "--bad", "0", "--seed", "5", "--json"
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_plan_shows_it(folder: Path) -> None:
    done = batuta(folder, "plan", str(folder / "pipeline.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    stages = {one["name"]: one["stage"] for one in plan["features"]}
    assert stages["senders_mean_grams_1d"] == "ingestion"
    assert stages["offices_count_1h"] == stages["many"] == stages["ratio_grams"] == "scoring"
    assert plan["keys"] == {"ingestion": "sender", "scoring": "office"}
    assert {one["module"] for one in plan["imports"]} == {"letter_parts"}
    assert all(len(one["sha256"]) == 64 for one in plan["imports"])


def test_demo_runs_it_and_loses_nothing(demonstrated: dict[str, object]) -> None:
    assert (demonstrated["events"], demonstrated["lost"], demonstrated["duplicated"]) == (
        EVENTS,
        0,
        0,
    )
    outcomes = demonstrated["outcomes"]
    assert isinstance(outcomes, dict)
    assert all(outcomes[outcome] for outcome in ("approve", "review", "block"))


def test_the_sink_was_told_of_every_block(folder: Path, demonstrated: dict[str, object]) -> None:
    told = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    outcomes = demonstrated["outcomes"]
    assert isinstance(outcomes, dict)
    assert len({notification for notification, _ in told}) == outcomes["block"]
    assert all(title.endswith(" held") for _, title in told)


def test_a_fault_leaves_with_2_and_its_line(folder: Path) -> None:
    wrong = folder / "wrong.yaml"
    wrong.write_text(FILE.replace("count: [1h]", "count: [7x]", 1))
    for command in (("plan",), ("worker", "--bootstrap", "127.0.0.1:1"), ("demo",)):
        done = batuta(folder, command[0], str(wrong), *command[1:])
        assert done.returncode == 2, (command, done.stderr)
        assert 'wrong.yaml:9:35: understand[0].senders.count[0]: "7x" is no dur' in done.stderr
