"""A worker's restoring is shown on a terminal, from what its lanes tell, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap

import pytest
from prometheus_client import CollectorRegistry

from batuta.streams.cli.restore_screen import remaining_records
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

PROGRAM = textwrap.dedent(
    """
    import asyncio
    from prometheus_client import CollectorRegistry
    from batuta.streams.cli.restore_screen import show_restoring
    from batuta.streams.telemetry.stage_telemetry import StageTelemetry

    async def main():
        registry = CollectorRegistry()
        telemetry = StageTelemetry("fraud", "scoring", registry)
        showing = asyncio.create_task(show_restoring(registry))
        for left in (90_000, 60_000, 30_000, 0):
            telemetry.restore_remaining(3, left)
            await asyncio.sleep(0.3)
        showing.cancel()

    asyncio.run(main())
    """
)


def test_what_lanes_tell_is_summed() -> None:
    registry = CollectorRegistry()
    assert remaining_records(registry) == 0
    scoring = StageTelemetry("fraud", "scoring", registry)
    ingestion = StageTelemetry("fraud", "ingestion", registry)
    scoring.restore_remaining(0, 5)
    scoring.restore_remaining(1, 7)
    ingestion.restore_remaining(0, 100)
    assert remaining_records(registry) == 112
    scoring.restore_remaining(0, 0)
    ingestion.lane_state(0, "closed")
    assert remaining_records(registry) == 7


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal_alone(*, terminal: bool) -> None:
    reading, writing = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    child = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=writing, env=environment)
    os.close(writing)
    drawn = b"".join(iter(lambda: _read(reading), b"")).decode()
    os.close(reading)
    assert child.wait(30) == 0
    assert ("restoring state" in drawn) is terminal
    assert ("60000/90000" in drawn) is terminal


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4_096)
    except OSError:  # a terminal whose other side is gone
        return b""
