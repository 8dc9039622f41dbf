"""What a hung model costs the events that do not need it, and how soon it is left alone.

    uv run python benchmarks/hung_model.py --json

One worker with a broker of its own, open loop: each event is due at a moment that does not bend,
and its age counts from there until its committed decision is read. Events ask a model in the
worker's process; in the second of three spans one in ten asks a served model, which answers in
50 ms (`healthy`) or never (`hung`), and falls back on the other. The ages are those of events that
do not need it; the second span is compared with the first and the third of the same worker. Loader,
reader, broker, model server and worker share this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from batuta.streams.broker.process import BrokerProcess
from batuta.streams.model_server.process import ModelServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

BATUTA = (sys.executable, "-c", "import sys; from batuta.streams.cli import main; sys.exit(main())")
PARTITIONS = 2
STAGES = ("--stages", "ingestion,scoring")
#: The worker warms up on the first events, and has time to see them through.
WARM_S, PAUSE_S = 5.0, 5.0
#: Which share of the events asks for the served model, by span.
SHARES = (0.0, 0.1, 0.0)
START_S, PATIENCE_S = 90.0, 60.0
FILE = """\
pipeline: hung
version: 1
source: {schema: "hung_parts:Order", id: order, key: customer, time: at}
understand:
  - lately: {by: customer, count: [1h]}
models:
  quick: {adapter: python, use: "hung_parts:Quick", inputs: [amount, lately], timeout: 5s}
  served:
    adapter: open-inference
    url: "${HUNG_URL}"
    inputs: [amount, lately]
    timeout: 150ms
    cost: 0 EUR
    breaker: {failures: 50%, over: 5s, calls: 10, open: 5s}
plans:
  fast: {ask: quick}
  deep: {fallback: [served, quick]}
select:
  among: [fast, deep]
  weights: {fast: 1, deep: 1}
  rules:
    - {when: "deep > 0.5", among: [deep]}
    - {when: "deep <= 0.5", among: [fast]}
decide:
  - {when: "score > 0.9", outcome: review}
  - {otherwise: approve}
escalate: {queue: people}
"""
PARTS = """\
import numpy as np
from pydantic import BaseModel, Field
from typing import Annotated
from batuta.schemas.times import EventTime


class Order(BaseModel):
    order: str
    customer: str
    at: EventTime
    amount: Annotated[float, Field(ge=0, le=1000)]
    deep: float


class Quick:
    async def answer(self, inputs):
        return np.full(len(inputs), 0.25)
"""


@dataclass
class Run:
    """One worker, one way the served model behaves.

    Attributes:
        ages_ms: of the events that do not need the served model, by span.
        answers: how often each way the served model failed, or answered, stands in the records.
        marked, needed: fallback answers, and events that asked for the served model.
        opened_s: from the first event that needed it to the first that it was not asked about.
    """

    ages_ms: list[list[float]] = field(default_factory=lambda: [[] for _ in SHARES])
    answers: Counter[str] = field(default_factory=Counter)
    marked: int = 0
    needed: int = 0
    first_needed_s: float = 0.0
    opened_s: float | None = None
    unmarked_without_answer: int = 0


def order(number: int, *, deep: bool) -> tuple[bytes, bytes]:
    # Customers of either kind are apart: the order of a key makes its own events wait.
    customer = f"{'d' if deep else 'f'}{number * 7919 % 2_000}"
    value = {"order": f"{'d' if deep else 'f'}-{number}", "customer": customer}
    value |= {"at": "2026-01-01T00:00:00Z", "amount": float(number % 100), "deep": float(deep)}
    return customer.encode(), orjson.dumps(value)


class Load(threading.Thread):
    """Publishes at a rate that does not bend: a while to warm up, a pause, then the spans."""

    def __init__(self, bootstrap: str, rate: float, span_s: float) -> None:
        super().__init__(daemon=True)
        self.rate = rate
        self.warm, self.span = int(rate * WARM_S), int(rate * span_s)
        self.count = self.warm + self.span * len(SHARES)
        self.start_s = time.time()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "linger.ms": 1,
                "log_level": 0,
            }
        )

    def run(self) -> None:
        for number in range(self.count):
            while time.time() < self.due_s(number):
                self._producer.poll(0)
                time.sleep(0.001)
            key, value = order(number, deep=self.deep(number))
            self._producer.produce("hung.events", value, key)
        self._producer.flush()

    def span_of(self, number: int) -> int | None:
        return None if number < self.warm else (number - self.warm) // self.span

    def deep(self, number: int) -> bool:
        span = self.span_of(number)
        return span is not None and number * 7919 % 1_000 < 1_000 * SHARES[span]

    def due_s(self, number: int) -> float:
        return self.start_s + number / self.rate + (PAUSE_S if number >= self.warm else 0.0)


def decisions(bootstrap: str, deadline_s: float) -> Iterator[tuple[float, dict[str, Any]]]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "hung-reader",
            "log_level": 0,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 5,
        }
    )
    consumer.assign([TopicPartition("hung.decisions", n, 0) for n in range(PARTITIONS)])
    while time.time() < deadline_s:
        for message in consumer.consume(1_000, 0.01):
            if message.error() is None:
                yield time.time(), orjson.loads(message.value() or b"{}")
    consumer.close()


def measured(folder: Path, behaviour: str, options: argparse.Namespace) -> Run:
    broker = BrokerProcess()
    # A server that hangs need not be slow; one that answers takes its time.
    server = ModelServerProcess(delay_ms=0 if behaviour == "hung" else 50)
    url = server.url("hangs" if behaviour == "hung" else "honest")
    settings = {"HUNG_URL": url, "BATUTA_PARTITIONS": str(PARTITIONS)}
    with (folder / f"{behaviour}.log").open("wb") as log:
        worker = subprocess.Popen(
            [
                *BATUTA,
                "worker",
                str(folder / "hung.yaml"),
                *STAGES,
                "--bootstrap",
                broker.bootstrap,
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, **settings},
        )
    try:
        wait_for_topics(broker.bootstrap, worker)
        load = Load(broker.bootstrap, options.rate, options.seconds)
        load.start()
        return heard(load, broker.bootstrap, worker)
    finally:
        worker.terminate()
        worker.wait(60)
        server.stop()
        broker.stop()


def wait_for_topics(bootstrap: str, worker: subprocess.Popen[bytes]) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "hung-waits", "log_level": 0})
    until = time.time() + START_S
    while "hung.decisions" not in consumer.list_topics(timeout=5).topics:
        assert worker.poll() is None, "the worker ended; its errors stand in its log"
        assert time.time() < until, "the worker did not start"
        time.sleep(0.1)
    consumer.close()
    time.sleep(2)


def heard(load: Load, bootstrap: str, worker: subprocess.Popen[bytes]) -> Run:
    run, left = Run(), load.count
    for read_s, record in decisions(bootstrap, load.due_s(load.count) + PATIENCE_S):
        assert worker.poll() is None, "the worker ended"
        kind, _, number = record["event_id"].partition("-")
        if kind == "d":
            note(run, record, read_s)
        elif (span := load.span_of(int(number))) is not None:
            run.ages_ms[span].append(1_000 * (read_s - load.due_s(int(number))))
        left -= 1
        if not left:
            return run
    raise AssertionError(f"{left} events without decision")


def note(run: Run, record: dict[str, Any], read_s: float) -> None:
    """Take an event that asks for the served model."""
    run.needed += 1
    run.first_needed_s = run.first_needed_s or read_s
    served = [one for one in record["answers"] if one["name"] == "served"]
    said = served[0].get("failure", "answered") if served else record["selection"]["by"]
    run.answers[said] += 1
    run.marked += bool(record.get("fallback"))
    run.unmarked_without_answer += bool(
        served and said != "answered" and not record.get("fallback")
    )
    if said in {"breaker_open", "breaker"} and run.opened_s is None:
        run.opened_s = read_s - run.first_needed_s


def figures(run: Run) -> dict[str, Any]:
    p99_ms = [float(np.percentile(ages, 99)) for ages in run.ages_ms]
    return {
        "p99_ms_by_span": [round(one, 1) for one in p99_ms],
        "p50_ms_by_span": [round(float(np.percentile(ages, 50)), 1) for ages in run.ages_ms],
        "p99_to_without": round(2 * p99_ms[1] / (p99_ms[0] + p99_ms[2]), 3),
        "events": sum(map(len, run.ages_ms)),
        "needed_the_served_model": run.needed,
        "said_of_it": dict(run.answers),
        "marked_as_fallback": run.marked,
        "fallback_not_marked": run.unmarked_without_answer,
        "breaker_opened_after_s": None if run.opened_s is None else round(run.opened_s, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300, help="events per second")
    parser.add_argument("--seconds", type=float, default=10, help="of each span")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "hung.yaml").write_text(FILE)
        (folder / "hung_parts.py").write_text(PARTS)
        for _ in range(options.rounds):
            found = {kind: figures(measured(folder, kind, options)) for kind in ("healthy", "hung")}
            rounds.append(found)
            print(json.dumps(found), file=sys.stderr)
    ratios = {
        kind: statistics.median(one[kind]["p99_to_without"] for one in rounds) for kind in rounds[0]
    }
    if options.json:
        print(json.dumps({"p99_to_without": ratios, "rounds": rounds}))
        return
    for kind, ratio in ratios.items():
        print(f"{kind:8} p99 of events that do not need it: {ratio:.2f} times what it is without")


if __name__ == "__main__":
    main()
