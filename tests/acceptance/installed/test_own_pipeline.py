"""A pipeline of one's own against the installed wheel, outside the checkout.

Schema, model, features (one that remembers), check, sink, samples and labelled history: first by
import path, from the folder of the file; then as a package that names them by entry points.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from conftest import Installed

EVENTS = 400
PATIENCE_S = 120.0

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
  - pace: {by: office, use: "letter_parts:Pace"}
models:
  scales:
    adapter: python
    use: "letter_parts:Scales"
    with: {limit: 1000.0}
    inputs: [grams, senders, offices, ratio, pace]
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
history: "letter_parts:OldLetters"
"""
PARTS = """\
from typing import Annotated

import json
import random

import numpy as np
from pydantic import BaseModel, Field

from batuta.agents.evaluation.report import Evaluation
from batuta.agents.samples import SampleEvent
from batuta.schemas.times import EventTime, parse_rfc3339, rfc3339


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


class Pace:
    names = ("letters_before",)
    width = 1
    per = ()

    def observe(self, memory, events):
        before = memory[0] + np.arange(len(events))
        memory[0] += len(events)
        return before[:, None]


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


class Letters:
    label_after_ms = 86_400_000

    def __init__(self, letters):
        self.letters = letters
        self.times_ms = np.array([parse_rfc3339(one["at"]) for one in letters])
        self.days = (self.times_ms - self.times_ms[0]) // 86_400_000
        self.entities = np.array([int(one["sender"].rsplit("-", 1)[1]) for one in letters])
        self.positive = np.array([one["grams"] > 800.0 for one in letters])
        self.losses = np.zeros(len(letters))

    def __len__(self):
        return len(self.letters)

    def event_ids(self):
        return (one["letter"] for one in self.letters)

    def events(self):
        for one, heavy in zip(self.letters, self.positive.tolist()):
            yield SampleEvent(one["letter"], one["sender"], json.dumps(one).encode(), b"{}", heavy)


class OldLetters:
    files = {"letters.json": ()}
    oracle_files = ""
    oracle_columns = ()

    def history(self, tables):
        return Letters(tables["letters.json"])

    def measure(self, history, weeks, scores):
        found = (scores > 0.8) & history.positive
        return Evaluation({"found": float(found.sum() / history.positive.sum())}, ())
"""

#: What the file names by import path, and the entry point's group and name for it.
POINTS = {
    "Letter": ("schemas", "letter"),
    "Ratio": ("features", "letter-ratio"),
    "Pace": ("features", "letter-pace"),
    "Scales": ("models", "letter-scales"),
    "Sane": ("checks", "letter-sane"),
    "Ledger": ("sinks", "letter-ledger"),
    "samples": ("samples", "letters"),
    "OldLetters": ("histories", "letters-of-old"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    (folder / "pipeline.yaml").write_text(FILE.replace("LEDGER", str(folder / "ledger.jsonl")))
    (folder / "letter_parts.py").write_text(PARTS)
    return folder


@pytest.fixture(scope="module")
def demonstrated(installed: Installed, folder: Path) -> dict[str, object]:
    done = installed.run(
        folder.parent,
        *("batuta", "demo", folder, "--events", str(EVENTS), "--bad", "0", "--seed", "5", "--json"),
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_the_wheel_is_what_runs(installed: Installed, tmp_path: Path) -> None:
    asked = "import batuta.streams.cli as one; print(one.__file__)"
    done = installed.run(tmp_path, "python", "-c", asked)
    assert done.stdout.startswith(str(installed.environment)), done


def test_plan_shows_it(installed: Installed, folder: Path) -> None:
    done = installed.run(folder.parent, "batuta", "plan", folder / "pipeline.yaml", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    stages = {one["name"]: one["stage"] for one in plan["features"]}
    assert stages["senders_mean_grams_1d"] == "ingestion"
    assert stages["offices_count_1h"] == stages["many"] == stages["ratio_grams"] == "scoring"
    assert plan["keys"] == {"ingestion": "sender", "scoring": "office"}
    assert {one["module"] for one in plan["imports"]} == {"letter_parts"}
    assert all(len(one["sha256"]) == 64 for one in plan["imports"])


def test_demo_runs_it_and_loses_nothing(demonstrated: dict[str, object]) -> None:
    counted = [demonstrated[name] for name in ("events", "lost", "duplicated")]
    assert counted == [EVENTS, 0, 0]
    outcomes = demonstrated["outcomes"]
    assert isinstance(outcomes, dict)
    assert all(outcomes[outcome] for outcome in ("approve", "review", "block"))


def test_evaluate_measures_it_on_its_own_history(installed: Installed, folder: Path) -> None:
    code = "import json, letter_parts as p; from itertools import islice; print(json.dumps("
    code += f"[json.loads(one.data) for one in islice(p.samples(3, 1_700_000_000_000), {EVENTS})]))"
    told = installed.run(folder, "python", "-c", code, PYTHONPATH=str(folder))
    (folder / "letters.json").write_text(told.stdout)
    page = folder / "page.html"
    done = installed.run(
        folder.parent,
        *("batuta", "evaluate", folder, "--data", folder, "--page", page, "--json"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [result[name] for name in ("events", "lost", "doubled")] == [EVENTS, 0, 0]
    assert result["metrics"] == {"found": 1.0}
    assert result["models"][0]["model"].startswith("scales@")
    assert "Evaluation of letters" in page.read_text("utf-8")


def test_the_sink_was_told_of_every_block(folder: Path, demonstrated: dict[str, object]) -> None:
    told = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    outcomes = demonstrated["outcomes"]
    assert isinstance(outcomes, dict)
    assert len({notification for notification, _ in told}) == outcomes["block"]
    assert all(title.endswith(" held") for _, title in told)


def test_a_fault_leaves_with_2_and_its_line(installed: Installed, folder: Path) -> None:
    wrong = folder / "wrong.yaml"
    wrong.write_text(FILE.replace("count: [1h]", "count: [7x]", 1))
    done = installed.run(folder, "batuta", "worker", wrong, "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    assert 'wrong.yaml:9:35: understand[0].senders.count[0]: "7x" is no dur' in done.stderr


def package(place: Path) -> Path:
    """Write the parts as a project of their own."""
    project = place / "letter-parts"
    project.mkdir()
    points = "".join(
        f'[project.entry-points."batuta.{group}"]\n{name} = "letter_house:{part}"\n'
        for part, (group, name) in POINTS.items()
        if part != "Pace"
    )
    pace = '[project.entry-points."batuta.features"]\n'
    points = points.replace(pace, f'{pace}letter-pace = "letter_house:Pace"\n')
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "letter-parts"\nversion = "2.5"\n'
        f'{points}[tool.setuptools]\npy-modules = ["letter_house"]\n'
    )
    (project / "letter_house.py").write_text(PARTS)
    return project


def test_a_worker_runs_the_parts_of_an_installed_package(
    installed: Installed, tmp_path: Path
) -> None:
    installed.add(package(tmp_path))
    file = tmp_path / "letters.yaml"
    text = re.sub(r'"letter_parts:(\w+)"', lambda found: POINTS[found[1]][1], FILE)
    file.write_text(text.replace("LEDGER", str(tmp_path / "ledger.jsonl")))
    planned = installed.run(tmp_path, "batuta", "plan", file, "--json")
    assert planned.returncode == 0, planned.stderr
    assert {one["version"] for one in json.loads(planned.stdout)["imports"]} == {"2.5"}
    with BrokerProcess() as broker:
        port = free_port()
        at = ("--bootstrap", broker.bootstrap)
        worker = installed.start(
            tmp_path, *("batuta", "worker", file, *at, "--metrics-port", str(port))
        )
        try:
            wait_until_ready(worker, port, tmp_path / "started.log")
            made = installed.run(
                tmp_path,
                *("batuta", "generate", file, "--events", "200", "--rate", "0", *at),
            )
            assert made.returncode == 0, made.stderr
            tailed = installed.run(
                tmp_path,
                *("batuta", "tail", "letters.decisions", "--from-beginning", "--max", "200", *at),
            )
            assert tailed.stdout.count('"event_id"') == 200, tailed.stderr
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(PATIENCE_S) == 0


def wait_until_ready(worker: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert worker.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
