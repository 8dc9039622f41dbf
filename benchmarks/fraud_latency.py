"""The age of the fraud pipeline's decisions over its two hops, open loop: p50, p99 and p99.9.

    uv run python benchmarks/fraud_latency.py --rates 2000,5000,10000 --json

One worker of ingestion and scoring on Apache Kafka. Events are due at a fixed rate and their age
counts from then, however late they went out, to when the committed decision is read: beside the
figures of one hop in `latency.py`, read in the same way.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic
from engine import machine, say
from fraud_path import BATUTA, POM, TOPICS, forget, transaction
from latency import Load, Point, Reader, ages_of, numbers, publishing, quantiles, shown
from yardstick.meter import EngineProcess
from yardstick.outcome import WrongOutputError
from yardstick.rounds import EngineFailedError

from batuta.streams.broker.apache import KAFKA_VERSION, ApacheKafka, find_libraries

RATES = (2_000.0, 5_000.0, 10_000.0)
PARTITIONS = 4


def point(bootstrap: str, rate: float, options: argparse.Namespace) -> Point:
    """Return the ages at one rate, from a worker that begins with nothing."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = (TOPICS.events, TOPICS.decisions)
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        made.result(30)
    count = int(rate * options.seconds)
    load = Load(bootstrap, TOPICS.events, options.warm, count, rate, transaction, "event_id")
    served = (*BATUTA, "worker", "fraud", "--stages", "ingestion,scoring")
    reader = Reader(bootstrap, PARTITIONS, TOPICS.decisions, load)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "worker.log"
        process = EngineProcess((*served, "--bootstrap", bootstrap), {}, log)
        try:
            with publishing(load) as loader:
                got, ages = ages_of(reader, load, loader, process)
        finally:
            leave(process)
            reader.close()
            forget(bootstrap)
    about = ("fraud, two hops", None, round(rate), None, round(got, 4))
    return Point(*about, *quantiles(got, ages))


def leave(process: EngineProcess) -> None:
    """Let a worker leave its groups, so that these can be forgotten."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    until = time.monotonic() + 60
    while not process.ended and time.monotonic() < until:
        time.sleep(0.1)
    process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=numbers(float), default=RATES, help="events/s, commas")
    parser.add_argument("--seconds", type=float, default=10.0, help="of open loop at each rate")
    parser.add_argument("--warm", type=int, default=20_000, help="events before it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    points: list[Point] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = ApacheKafka(find_libraries(POM), Path(folder))
        try:
            for rate in options.rates:
                try:
                    points.append(point(broker.bootstrap, rate, options))
                    say(shown(points[-1]))
                except (EngineFailedError, WrongOutputError) as error:
                    failed[f"{rate:.0f}/s"] = f"{type(error).__name__}: {error}"
                    say(f"{rate:,.0f}/s: NO FIGURE: {error}")
        finally:
            broker.stop()
    if options.json:
        broker_name = f"Apache Kafka {KAFKA_VERSION}, one node"
        report = {"points": [asdict(one) for one in points], "failed": failed}
        print(json.dumps({**report, "broker": broker_name, "machine": machine()}, indent=2))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
