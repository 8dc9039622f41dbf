"""The embedded broker as a child process, which ends with us."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

from batuta.schemas.errors import LaterError
from batuta.streams.broker.serving import READY

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BrokerProcess", "BrokerProcessError"]

START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0


class BrokerProcessError(LaterError):
    """The child process did not come up; the message holds what it said."""


class BrokerProcess:
    """One embedded broker in a process of its own.

    It listens on loopback and ends by `stop()`, by `kill()`, or when this process ends, however
    that happens: its stdin is our pipe.
    """

    def __init__(
        self, port: int = 0, faults: Path | None = None, data_dir: Path | None = None
    ) -> None:
        """Start the broker and wait until it listens.

        Args:
            port: the port to bind; 0 picks a free one.
            faults: a JSON file of faults to inject.
            data_dir: where it keeps its data; None for memory alone.

        Raises:
            BrokerProcessError: it ended, or did not listen in time.
        """
        command = [sys.executable, "-m", "batuta.streams.broker", "--until-stdin-closes"]
        command += ["--port", str(port)]
        if faults is not None:
            command += ["--faults", str(faults)]
        if data_dir is not None:
            command += ["--data-dir", str(data_dir)]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            # Ctrl-C goes to a terminal's whole process group: whoever started us is still draining.
            start_new_session=True,
        )
        self.bootstrap = self._wait_until_ready()

    @property
    def pid(self) -> int:
        """The process id of the broker."""
        return self._process.pid

    def stop(self) -> None:
        """End the broker and wait until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End the broker as a power cut would."""
        self._process.kill()
        self._reap()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _reap(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _wait_until_ready(self) -> str:
        line = self._first_line()
        word, _, bootstrap = line.strip().partition(" ")
        if word != READY or not bootstrap:
            self.kill()
            raise BrokerProcessError(f"the embedded broker did not start; it said {line!r}")
        return bootstrap

    def _first_line(self) -> str:
        pipe = self._process.stdout
        assert pipe is not None
        deadline = time.monotonic() + START_DEADLINE_S
        said = b""
        while not said.endswith(b"\n") and time.monotonic() < deadline:
            readable, _, _ = select.select([pipe], [], [], 0.1)
            if readable:
                piece = os.read(pipe.fileno(), 4096)
                if not piece:
                    break
                said += piece
        return said.decode(errors="replace")
