"""One round of one engine: started on the loaded events, metered, its output checked by event."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yardstick.meter import EngineProcess
from yardstick.outcome import Expected, WrongOutputError
from yardstick.topics import OutputReader, Topics, data_records, values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yardstick.engines import Engine, Launch

__all__ = ["Bench", "EngineFailedError", "Round"]

POLL_S = 0.02
#: How long an engine may write nothing; a JVM on a busy machine takes half of it to start.
SILENCE_S = 180.0
#: How long after its last visible record an engine may take to commit what it has written.
COMMIT_S = 20.0
END_SHARE = 0.98


class EngineFailedError(Exception):
    """An engine ended or fell silent before its work was done."""


@dataclass(frozen=True)
class Round:
    """What one engine did in one round, over the part of its events that was metered."""

    events: int
    events_per_second: float
    cpu_us_per_event: float


@dataclass(frozen=True)
class _Mark:
    at_s: float
    cpu_s: float
    ends: dict[int, int]


class Bench:
    """Runs engines, one at a time, on events that are loaded once per number of events.

    Args:
        topics: on the broker.
        events: how many an engine is given whose share is 1.
        warm_share: of an engine's events, those that it warms up on, unmetered.
    """

    def __init__(self, topics: Topics, events: int, warm_share: float) -> None:
        self._topics = topics
        self._events = events
        self._warm_share = warm_share
        self._loaded: dict[int, str] = {}
        self._expected: dict[tuple[int, bool], Expected] = {}
        self._runs = 0

    def input_of(self, events: int) -> str:
        """Return the topic of the first so many events, loaded the first time."""
        if events not in self._loaded:
            self._topics.create(name := f"transactions-{events}")
            self._topics.load(name, range(events))
            self._loaded[events] = name
        return self._loaded[events]

    def run(self, engine: Engine, launch: Launch) -> Round:
        """Run one round.

        Raises:
            EngineFailedError: it ended or fell silent before it was through.
            WrongOutputError: what it wrote is wrong, short or doubled.
        """
        events = int(self._events * engine.share)
        source = self.input_of(events)
        self._runs += 1
        output = f"decisions-{self._runs}"
        self._topics.create(output, *(name.format(output) for name in engine.topics))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            told = {
                **launch.environment,
                "BENCH_BOOTSTRAP": self._topics.bootstrap,
                "BENCH_INPUT": source,
                "BENCH_OUTPUT": output,
                "BENCH_GROUP": f"bench-{self._runs}",
                "BENCH_PARTITIONS": str(self._topics.partitions),
                "BENCH_FOLDER": folder,
            }
            try:
                return self._metered(engine, launch, told, events)
            finally:
                self._topics.delete_all_but(*self._loaded.values())

    def _metered(
        self, engine: Engine, launch: Launch, told: Mapping[str, str], events: int
    ) -> Round:
        reader = OutputReader(self._topics, told["BENCH_OUTPUT"])
        log = Path(told["BENCH_FOLDER"]) / "engine.log"
        process = EngineProcess(launch.command, told, log)
        try:
            first = _mark_at(process, reader, round(events * self._warm_share))
            last = _mark_at(process, reader, round(events * END_SHARE))
            records = reader.read(events, COMMIT_S)
        finally:
            process.kill()
            reader.close()
        self._expect(events, stateful=engine.stateful).check(values(records))
        done = data_records(records, first.ends, last.ends)
        if done <= 0:
            raise WrongOutputError("nothing was committed between the two marks")
        seconds, cpu_s = last.at_s - first.at_s, last.cpu_s - first.cpu_s
        return Round(done, done / seconds, cpu_s / done * 1e6)

    def _expect(self, events: int, *, stateful: bool) -> Expected:
        key = (events, stateful)
        if key not in self._expected:
            self._expected[key] = Expected(events, stateful=stateful)
        return self._expected[key]


def _mark_at(process: EngineProcess, reader: OutputReader, events: int) -> _Mark:
    """Wait until an engine has written so many records, and note what it took so far."""
    written, heard_s = -1, time.monotonic()
    while True:
        ends = reader.ends()
        now = sum(ends.values())
        if now >= events:
            return _Mark(time.monotonic(), process.cpu_s(), ends)
        if now > written:
            written, heard_s = now, time.monotonic()
        if process.ended:
            raise EngineFailedError(f"it ended after {now} records: {process.said()}")
        if time.monotonic() > heard_s + SILENCE_S:
            raise EngineFailedError(f"it was silent after {now} records: {process.said()}")
        time.sleep(POLL_S)
