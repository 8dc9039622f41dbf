"""What asking a model over HTTP costs: events/s with micro-batches, and row by row.

    uv run python benchmarks/http_models.py --json
    uv run python benchmarks/http_models.py --worker --json

The server is a process of its own that takes 50 ms for each answer; it shares this machine. Without
`--worker` the model alone is asked; with it a whole worker is, Kafka to Kafka (`http_worker.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from http_worker import MODES, measured_worker

from batuta.streams.adapters.http_calls import Endpoint
from batuta.streams.adapters.micro_batches import BatchLimits
from batuta.streams.adapters.open_inference import OpenInferenceModel, OpenInferencePlan
from batuta.streams.broker.apache import ApacheKafka, find_libraries
from batuta.streams.broker.process import BrokerProcess
from batuta.streams.model_server.process import ModelServerProcess

FEATURES = 12
POM = Path(__file__).parents[1] / "tests" / "apache_kafka" / "pom.xml"


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def asked(model: OpenInferenceModel, events: int, batch: int, callers: int) -> None:
    """Ask about events in batches, so many lanes at once."""
    rows = np.random.default_rng(0).normal(size=(batch, FEATURES)).astype(np.float32)
    left = iter(range(0, events, batch))

    async def lane() -> None:
        for _ in left:
            answers = await model.answer(rows)  # type: ignore[union-attr]
            assert not answers.failures

    await asyncio.gather(*(lane() for _ in range(callers)))


async def measured(url: str, limits: BatchLimits, shape: tuple[int, int, int]) -> dict[str, float]:
    events, batch, callers = shape
    endpoint = Endpoint(url, timeout_ms=60_000, connections_max=1_024)
    plan = OpenInferencePlan("risk", tuple(f"f{n}" for n in range(FEATURES)), "risk", limits=limits)
    async with OpenInferenceModel(endpoint, plan) as model:
        await asked(model, 4 * batch, batch, callers)
        started, used = time.perf_counter(), cpu_s()
        await asked(model, events, batch, callers)
        took, cpu = time.perf_counter() - started, cpu_s() - used
    return {"events_per_second": events / took, "cpu_us_per_event": 1e6 * cpu / events}


async def models_alone(delay_ms: int) -> dict[str, dict[str, Any]]:
    with ModelServerProcess(delay_ms=delay_ms) as server:
        url = server.url("honest")
        return {
            "micro_batched": await measured(url, BatchLimits(256, 2), (200_000, 1_000, 8)),
            "single_callers_gathered": await measured(url, BatchLimits(256, 2), (40_000, 1, 1_000)),
            "single_rows": await measured(url, BatchLimits(1, 2), (10_000, 1, 1_000)),
        }


def workers(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    report: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        broker = BrokerProcess() if options.embedded else ApacheKafka(find_libraries(POM), folder)
        try:
            for mode in options.only or MODES:
                count = options.events or MODES[mode].events
                report[mode] = measured_worker(
                    mode, broker.bootstrap, folder, count, options.delay_ms
                )
                print(f"{mode}: {report[mode]}", file=sys.stderr, flush=True)
        finally:
            broker.stop()
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--delay-ms", type=int, default=50)
    parser.add_argument("--worker", action="store_true", help="a whole worker, Kafka to Kafka")
    parser.add_argument("--only", action="append", choices=MODES, help="with --worker: this mode")
    parser.add_argument("--events", type=int, help="with --worker: of each mode")
    parser.add_argument("--embedded", action="store_true", help="on the embedded broker instead")
    found = parser.parse_args()
    report = workers(found) if found.worker else asyncio.run(models_alone(found.delay_ms))
    if found.json:
        sys.stdout.write(json.dumps(report) + "\n")
        return
    for name, figures in report.items():
        rate, cpu = figures["events_per_second"], figures["cpu_us_per_event"]
        print(f"{name:26} {rate:10,.0f} events/s {cpu:8.1f} CPU-us per event")


if __name__ == "__main__":
    main()
