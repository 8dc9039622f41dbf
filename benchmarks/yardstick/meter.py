"""The CPU time of an engine: of its process and of all that it started, user and system."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EngineProcess"]

_TICKS = os.sysconf("SC_CLK_TCK")
_END_S = 10.0


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    session: int
    cpu_s: float


def _processes() -> list[_Process]:
    found: list[_Process] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        # Fields 14 to 17 of proc(5): its own user and system time, and its ended children's.
        ticks = sum(int(field) for field in fields[11:15])
        found.append(_Process(int(folder.name), int(fields[1]), int(fields[3]), ticks / _TICKS))
    return found


class EngineProcess:
    """A command in a session of its own, with everything that it starts."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdout=written,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=environment.get("BENCH_FOLDER"),
            )

    @property
    def pid(self) -> int:
        """Its process id, which is its session's."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the command has ended."""
        return self._process.poll() is not None

    def cpu_s(self) -> float:
        """Return user and system time of the whole group so far."""
        return sum(process.cpu_s for process in self._group())

    def said(self, characters: int = 600) -> str:
        """Return the end of what it wrote."""
        return self.log.read_text(errors="replace")[-characters:].strip()

    def kill(self) -> None:
        """End all of it, and wait."""
        deadline = time.monotonic() + _END_S
        while (group := self._group()) and time.monotonic() < deadline:
            for process in group:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)

    def _group(self) -> list[_Process]:
        """Return who is of its session, or came from one who is."""
        everyone = _processes()
        members = {p.pid for p in everyone if self.pid in (p.session, p.pid)}
        grown = True
        while grown:
            more = {p.pid for p in everyone if p.parent in members and p.pid not in members}
            members |= more
            grown = bool(more)
        return [p for p in everyone if p.pid in members]
