"""The console script as a user meets it: real processes, exit codes, stdout and stderr."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from batuta.schemas.topics import Topics
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.settings import load_settings
from batuta.streams.topic_admin import declare_topics

BATUTA = shutil.which("batuta") or "batuta"
DEADLINE_S = 120
HEADER = "transaction_id,event_time,card_id,terminal_id,amount,currency,channel"


def environment(**extra: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BATUTA_")}
    return {**clean, **extra}


def batuta(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BATUTA, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment(**extra),
    )


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    """A broker of this module's own, where nothing decides, with the fraud topics."""
    with BrokerProcess() as broker:
        asyncio.run(declare_topics(load_settings(bootstrap=broker.bootstrap), Topics("fraud")))
        yield broker.bootstrap


@pytest.mark.parametrize("command", ["demo", "worker"])
def test_a_command_explains_itself_with_an_example(command: str) -> None:
    done = batuta(command, "--help")
    assert done.returncode == 0
    assert f"Example: batuta {command}" in done.stdout


def test_version() -> None:
    assert batuta("--version").stdout.startswith("batuta ")
    assert set(json.loads(batuta("version", "--json").stdout)) == {"batuta", "python"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tail"], "TOPIC"),
        (["tail", "t", "--max", "none"], "--max"),
        (["worker", "fraud"], "no Kafka broker given"),
        (["worker", "frawd", "--bootstrap", "127.0.0.1:9092"], "did you mean fraud?"),
        (["worker", "fraud", "--bootstrap", "127.0.0.1:9092", "--stages", "x"], "ingestion"),
        (["tail", "fraud.events", "--bootstrap", "nonsense"], "HOST:PORT"),
        (["broker", "--port", "99999"], "--port"),
        (["produce", "fraud.events", "none.jsonl", "--bootstrap", "h:1"], "none.jsonl"),
    ],
)
def test_wrong_usage_is_2_and_names_the_fix(arguments: list[str], said: str) -> None:
    done = batuta(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["tail", "fraud.events"],
        ["worker", "fraud", "--connect-timeout", "0.5"],
    ],
)
def test_a_broker_out_of_reach_is_3(arguments: list[str]) -> None:
    done = batuta(*arguments, "--bootstrap", f"127.0.0.1:{closed_port()}")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error: no" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_topic_is_2(bootstrap: str) -> None:
    done = batuta("tail", "nowhere", "--bootstrap", bootstrap)
    assert done.returncode == 2
    assert "no topic nowhere" in done.stderr


def test_produce_then_tail(bootstrap: str, tmp_path: Path) -> None:
    file = tmp_path / "cards.csv"
    rows = [
        "tx-1,2018-04-01T10:17:43Z,0001,t1,12.50,EUR,pos",
        "tx-2,2018-04-01T10:17:43Z,0002,t1,much,EUR,pos",
        "tx-3,2018-04-01T10:17:43Z,,t1,1,EUR,pos",
        "tx-4,2018-04-01T10:17:43Z,0004,t1,7,EUR,pos",
    ]
    file.write_text("\n".join([HEADER, *rows]))
    done = batuta("produce", "fraud.events", str(file), "--json", BATUTA_BOOTSTRAP=bootstrap)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["produced"], result["refused"]) == (2, 2)
    assert [bad["line"] for bad in result["bad_lines"]] == [3, 4]
    assert "line 3: amount: 'much' is not a finite number" in done.stderr

    tailed = batuta(
        "tail", "fraud.events", "--from-beginning", "--max", "2", BATUTA_BOOTSTRAP=bootstrap
    )
    assert tailed.returncode == 0
    records = [json.loads(line) for line in tailed.stdout.splitlines()]
    assert {record["key"]: record["value"]["amount"] for record in records} == {
        "0001": 12.5,
        "0004": 7,
    }


def test_a_worker_drains_and_leaves_when_asked() -> None:
    with BrokerProcess() as broker:
        worker = subprocess.Popen(
            [BATUTA, "worker", "fraud", "--bootstrap", broker.bootstrap, "--stages", "ingestion"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        wait_for_topics(broker.bootstrap)
        generated = batuta("generate", "fraud", "--events", "50", BATUTA_BOOTSTRAP=broker.bootstrap)
        assert generated.returncode == 0, generated.stderr
        arrived = batuta(
            "tail",
            "fraud.ingested",
            "--from-beginning",
            "--max",
            "50",
            BATUTA_BOOTSTRAP=broker.bootstrap,
        )
        assert len(arrived.stdout.splitlines()) == 50
        worker.send_signal(signal.SIGTERM)
        said, _ = worker.communicate(timeout=DEADLINE_S)
        assert worker.returncode == 0, said
        assert "Traceback" not in said


def wait_for_topics(bootstrap: str) -> None:
    """Wait until the worker has created its topics: until there is nothing to explain in them."""
    deadline = time.monotonic() + DEADLINE_S
    while (asked := batuta("explain", "none", "--bootstrap", bootstrap)).returncode != 1:
        assert time.monotonic() < deadline, asked.stderr


def test_nothing_to_explain_is_1_with_a_hint(bootstrap: str) -> None:
    done = batuta("explain", "tx-nowhere", "--json", "--bootstrap", bootstrap)
    assert done.returncode == 1
    assert json.loads(done.stdout)["decisions"] == []
    assert "batuta tail fraud.decisions" in done.stderr


def test_of_a_pipeline_that_never_ran_explain_names_the_option(bootstrap: str) -> None:
    done = batuta("explain", "m-1", "--pipeline", "support", "--bootstrap", bootstrap)
    assert (done.returncode, done.stdout) == (2, "")
    assert "another pipeline than support is named by --pipeline" in done.stderr


def test_generate_keeps_to_its_count_and_rate(bootstrap: str) -> None:
    done = batuta(
        "generate", "fraud", "--events", "500", "--rate", "1000", "--json", "--bootstrap", bootstrap
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["events"], result["topic"]) == (500, "fraud.events")
    assert result["feedback"] == "fraud.feedback"
    assert 0 < result["labels"] < 50
    assert result["seconds"] >= 0.45


def test_tail_ends_when_asked(bootstrap: str, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text('{"card_id": "c1"}\n')
    assert batuta("produce", "fraud.rekeyed", str(file), "--bootstrap", bootstrap).returncode == 0
    tail = subprocess.Popen(
        [BATUTA, "tail", "fraud.rekeyed", "--from-beginning", "--bootstrap", bootstrap],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert tail.stdout is not None
    assert json.loads(tail.stdout.readline())["value"] == {"card_id": "c1"}
    tail.send_signal(signal.SIGINT)
    _, err = tail.communicate(timeout=DEADLINE_S)
    assert (tail.returncode, err) == (0, "")
