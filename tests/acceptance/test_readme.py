"""What the README shows, run as it stands there: its marked blocks, on a broker of their own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

README = Path(__file__).parents[2] / "README.md"
BIN = Path(sys.executable).parent
DEADLINE_S = 90.0


def environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BATUTA_")}
    return {**ours, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def block(name: str) -> str:
    """Return the shell block that the README marks with `name`."""
    found = re.search(rf"<!-- tested: {name} -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None, f"the README marks no block {name!r}"
    return found[1]


@pytest.fixture
def bootstrap() -> Iterator[str]:
    """A broker with a worker on it, as the README starts them."""
    if shutil.which("kcat") is None:
        missing = "THE README WAS NOT RUN: install kcat"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with BrokerProcess() as broker, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [BIN / "batuta", "worker", "fraud", "--bootstrap", broker.bootstrap]
        worker = subprocess.Popen([*command, "--metrics-port", str(port)], env=environment())
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "a worker that is ready")
            yield broker.bootstrap
        finally:
            worker.terminate()
            worker.wait(DEADLINE_S)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.1)


def run(name: str, bootstrap: str) -> str:
    """Run a block with the broker's address in it, and return what it printed."""
    script = block(name).replace("127.0.0.1:9092", bootstrap).replace("uv run batuta", "batuta")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_what_the_readme_shows_happens(bootstrap: str) -> None:
    run("publish", bootstrap)
    until(lambda: '"event_id":"tx-000003527"' in run("read", bootstrap), "the decision")
    run("refused", bootstrap)
    until(lambda: "reason=missing_field" in run("deadletters", bootstrap), "the dead letter")
    assert '{"amount": "much"}' in run("deadletters", bootstrap)
    said = run("commands", bootstrap)
    assert "1,000 events published to fraud.events" in said
    assert said.count('"topic": "fraud.decisions"') == 3
    assert re.search(r"^tx-000003527 +(APPROVE|REVIEW|BLOCK) ", said, re.MULTILINE)


def test_the_first_thing_in_the_readme_is_the_two_commands() -> None:
    blocks = re.findall(r"^```sh\n(.*?)\n```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks[:2] == ["pip install uv && uv run batuta demo fraud", "uv run pytest"]
