"""The demonstration as a user meets it: one command, to the end and to Ctrl-C."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from queue import Empty, Queue
from typing import IO

import pytest

BATUTA = shutil.which("batuta") or "batuta"
DEADLINE_S = 90
FLAGS = re.MULTILINE
OUTCOMES = {"approve", "review", "block"}


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BATUTA_")}


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A command in a process group of its own, as a terminal starts it, read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [BATUTA, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            start_new_session=True,
            # A shell lets what it starts in the background ignore Ctrl-C, and children inherit it.
            preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - it takes no lock
        )
        assert self.process.stdout is not None
        self.said: list[str] = []
        self._lines: Queue[str | None] = Queue()
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._lines.put(line)
        self._lines.put(None)

    def until(self, pattern: str) -> str:
        """Return the first line that matches, failing with what was said where none does."""
        while (line := self._next()) is not None:
            if re.search(pattern, line):
                return line.strip()
        pytest.fail(f"never said {pattern!r}:\n{''.join(self.said)}")

    def press_ctrl_c(self) -> int:
        """Interrupt the whole process group, as a terminal does, and return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """Make sure that nothing is left."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        while self._next() is not None:
            pass
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _next(self) -> str | None:
        if self.said and not self.said[-1]:
            return None  # all was read before
        try:
            line = self._lines.get(timeout=DEADLINE_S)
        except Empty:
            pytest.fail(f"silent for {DEADLINE_S} s:\n{''.join(self.said)}")
        self.said.append(line or "")
        return line


@pytest.fixture
def serving() -> Iterator[Running]:
    demo = Running("demo", "fraud", "--rate", "400")
    yield demo
    demo.end()


def test_a_counted_run_ends_with_one_object() -> None:
    done = subprocess.run(
        [BATUTA, "demo", "fraud", "--events", "3000", "--rate", "2000", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["events"] == 3_000
    assert (result["lost"], result["duplicated"]) == (0, 0)
    assert result["decisions"] + result["deadletters"] == 3_000
    assert result["deadletters"] > 0
    assert set(result["outcomes"]) == OUTCOMES
    assert sum(result["outcomes"].values()) == result["decisions"]
    assert result["escalations"] == result["outcomes"]["review"]
    assert result["notifications"] >= result["outcomes"]["block"]
    assert result["labels_joined"] == result["labels"] > 0
    assert 0 <= result["p50_ms"] <= result["p99_ms"]
    assert 0 < result["events_per_second"] <= 3_000
    assert result["metrics_url"].startswith("http://127.0.0.1:")


def command(shown: str) -> list[str]:
    """Return the arguments of a `batuta` command as it is shown, what it does beside it."""
    words = shlex.split(shown.split("  ", maxsplit=1)[0])
    return words[words.index("batuta") + 1 :]


def test_it_serves_what_it_says_to_try_until_ctrl_c(serving: Running) -> None:
    explain = command(serving.until(r"^(uv run )?batuta explain "))
    tail = command(serving.until(r"^(uv run )?batuta tail "))
    metrics_url = serving.until(r"^curl ").split()[1]

    told = subprocess.run(
        [BATUTA, *explain, "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        env=environment(),
    )
    story = json.loads(told.stdout)
    assert story["outcome"] in OUTCOMES
    for kind in ("events", "ingested", "decisions"):
        assert len(story[kind]) == 1, kind
    assert story["reasons"][0]["text"]
    times_ms = [hop["after_ms"] for hop in story["times"]]
    assert times_ms == sorted(times_ms)

    decisions = subprocess.run(
        [BATUTA, *tail, "--max", "3"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        env=environment(),
    )
    seen = [json.loads(line)["value"]["outcome"] for line in decisions.stdout.splitlines()]
    assert len(seen) == 3
    assert set(seen) <= OUTCOMES

    with urllib.request.urlopen(metrics_url, timeout=DEADLINE_S) as answer:
        metrics = answer.read().decode()
    assert re.search(
        r'^batuta_decisions_total\{.*outcome="approve".*\} [1-9]', metrics, re.MULTILINE
    )

    assert serving.press_ctrl_c() == 0
    serving.end()
    whole = "".join(serving.said)
    assert "Traceback" not in whole
    assert "0 lost, 0 duplicated" in whole
    host, port = explain[explain.index("--bootstrap") + 1].split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_ctrl_c_before_it_serves_is_clean() -> None:
    demo = Running("demo", "fraud")
    try:
        demo.until("broker")
        assert demo.press_ctrl_c() == 0
        demo.end()
        assert "Traceback" not in "".join(demo.said)
    finally:
        demo.end()
