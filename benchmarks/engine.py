"""The engine against its peers, measured: events/s and CPU-us per event, side by side in one run.

    uv run --group peers python benchmarks/engine.py --json

Starts Apache Kafka, loads the events once, then runs the same work on every engine by turns, round
after round. CPU is user and system time of an engine's whole process group, after it has warmed
up; the broker is counted for nobody. Each output is checked event by event: one that is wrong,
short or doubled gives no figure. See `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limit_check import append
from yardstick.engines import ENGINES, PEERS, Engine, Launch, UnavailableError
from yardstick.figures import LIMIT, OURS, compare, summary, table
from yardstick.outcome import WrongOutputError
from yardstick.rounds import Bench, EngineFailedError, Round
from yardstick.topics import Topics

from batuta.streams.broker.apache import KAFKA_VERSION, ApacheKafka, find_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence

POM = Path(__file__).parents[1] / "tests" / "apache_kafka" / "pom.xml"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def prepare(engines: list[Engine], failed: dict[str, str]) -> dict[str, Launch]:
    """Make every engine ready; note why one is not."""
    ready: dict[str, Launch] = {}
    for engine in engines:
        say(f"preparing {engine.name}")
        try:
            ready[engine.name] = engine.prepare()
        except UnavailableError as error:
            failed[engine.name] = str(error)
            say(f"  {error}")
    return ready


def compute_us(events: int) -> float:
    """Return the CPU-us per event of the work alone."""
    command = [sys.executable, str(PEERS / "compute_peer.py"), str(events)]
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


class Run:
    """All rounds of all engines."""

    def __init__(self, options: argparse.Namespace, engines: Sequence[Engine] = ENGINES) -> None:
        self.options = options
        self.failed: dict[str, str] = {}
        chosen = [e for e in engines if not options.only or e.name in options.only]
        self.launches = prepare(chosen, self.failed)
        self.engines = [engine for engine in chosen if engine.name in self.launches]
        self.rounds: dict[str, list[Round]] = {engine.name: [] for engine in self.engines}
        self.compute: list[float] = []

    def go(self, bootstrap: str) -> None:
        """Run them by turns; who comes first changes from round to round."""
        topics = Topics(bootstrap, self.options.partitions)
        bench = Bench(topics, self.options.events, self.options.warm)
        for number in range(self.options.rounds):
            say(f"round {number + 1} of {self.options.rounds}")
            shift = number * 2 % len(self.engines)
            for engine in self.engines[shift:] + self.engines[:shift]:
                if engine.name not in self.failed:
                    self._one(bench, engine)
            self.compute.append(compute_us(100_000))

    def _one(self, bench: Bench, engine: Engine) -> None:
        try:
            one = bench.run(engine, self.launches[engine.name])
        except (EngineFailedError, WrongOutputError) as error:
            self.failed[engine.name] = f"{type(error).__name__}: {error}"
            say(f"  {engine.name}: NO FIGURE: {error}")
            return
        self.rounds[engine.name].append(one)
        say(
            f"  {engine.name:22s} {one.cpu_us_per_event:8.2f} CPU-us/event "
            f"{one.events_per_second:10,.0f} events/s"
        )

    def report(self) -> dict[str, Any]:
        """Return everything; no figure for an engine that failed in any round."""
        good = {name: them for name, them in self.rounds.items() if name not in self.failed}
        figures = {
            engine.name: summary(engine, self.launches[engine.name], good[engine.name])
            for engine in self.engines
            if good.get(engine.name)
        }
        limits = {engine.name for engine in self.engines if engine.limit}
        ratios = compare(good)
        return {
            "engines": {name: one for name, one in figures.items() if name not in limits},
            "ratios": {name: one for name, one in ratios.items() if name not in limits},
            "limit": self._limit(figures, limits, ratios),
            "rounds": self.options.rounds,
            "failed": self.failed,
            "events": {e.name: int(self.options.events * e.share) for e in self.engines},
            "warm_share": self.options.warm,
            "partitions": self.options.partitions,
            "broker": f"Apache Kafka {KAFKA_VERSION}, one node",
            "machine": machine(),
        }

    def _limit(
        self, figures: dict[str, Any], limits: set[str], ratios: dict[str, float]
    ) -> dict[str, Any]:
        compute = round(statistics.median(self.compute), 2)
        loops = {
            name: {**figures[name], "ratio": ratios.get(name)} for name in figures if name in limits
        }
        first = loops.get(LIMIT, {})
        return {
            "cpu_us_per_event": first.get("cpu_us_per_event"),
            "events_per_second": first.get("events_per_second"),
            "ratio": first.get("ratio"),
            "compute_cpu_us_per_event": compute,
            "compute_ratio": round(figures[OURS]["cpu_us_per_event"] / compute, 3)
            if OURS in figures
            else None,
            "loops": loops,
        }


def machine() -> dict[str, Any]:
    """Say on what this runs, and how busy it is with other things."""
    return {
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=600_000, help="of an engine of share 1")
    parser.add_argument("--warm", type=float, default=1 / 3, help="share that is not metered")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this engine; may be said again"
    )
    parser.add_argument("--record", action="store_true", help="append the ratios to the history")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.only and (unknown := set(options.only) - {e.name for e in ENGINES}):
        known = ", ".join(e.name for e in ENGINES)
        parser.error(f"--only {min(unknown)}: expected some of {known}")
    run = Run(options)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = ApacheKafka(find_libraries(POM), Path(folder))
        try:
            run.go(broker.bootstrap)
        finally:
            broker.stop()
    report = run.report()
    if options.record:
        append(ratios=report["ratios"], ratio_to_limit=report["limit"]["ratio"])
    print(json.dumps(report, indent=2) if options.json else table(report))
    sys.exit(1 if run.failed else 0)


if __name__ == "__main__":
    main()
