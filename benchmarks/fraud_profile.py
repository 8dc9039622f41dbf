"""The fraud path by step: where its CPU time goes, as a table and a flame graph.

    uv run --group peers python benchmarks/fraud_profile.py --flame /tmp/fraud.svg --json

One worker of ingestion and scoring on Apache Kafka, sampled by py-spy 200 times a second from its
start to its end. A sample belongs to the step of its innermost frame that has one, so what a step
calls is the step's. The CPU-us per event of a step is its share of the samples times that of the
whole, which the worker's own user and system time gives. The graph is an SVG, to be opened in a
browser; hovering tells a frame's share.
"""

from __future__ import annotations

import argparse
import html
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fraud_path import BATUTA, POM, TOPICS, Progress, load
from yardstick.meter import EngineProcess

from batuta.streams.broker.apache import ApacheKafka, find_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 4
SAMPLES_PER_SECOND = 200
#: Which step a frame belongs to: by a part of its name or file, the first that matches.
STEPS = (
    ("validate", ("event_codec.py",)),
    ("deduplicate", ("deduplication.py",)),
    ("windows", ("windows.py", "window_sets.py", "rings.py", "memories.py", "placing.py")),
    ("model", ("adapters/", "metered_model.py", "agents/models/", "onnxruntime")),
    ("decide", ("agents/policy/", "decision_rows.py", "_decide (", "notification.py")),
    ("record", ("encode", "ingested_codec.py", "decision_codec.py", "control_codec.py")),
    ("conduct", ("conductor.py", "ingestion.py", "stages.py")),
    ("kafka", ("aiokafka/", "streams/lanes/")),
    ("metrics", ("telemetry/", "prometheus_client")),
    ("event loop", ("asyncio/", "selectors.py")),
)
#: Importing and compiling are over before the first event.
STARTING = ("importlib", "numba/core", "lifecycle.py:_compile", "_compile (", "find_pipeline (")
WIDTH, ROW = 1200.0, 16


def step_of(frames: list[str]) -> str:
    for frame in reversed(frames):
        for step, marks in STEPS:
            if any(mark in frame for mark in marks):
                return step
    return "other"


def stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """Yield frames, outermost first, and how often they were seen."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [f for f in stack.split(";") if not f.startswith(("thread ", "process "))]
        if frames:
            yield frames, int(count)


def profile(bootstrap: str, events: int, folder: Path) -> tuple[str, float]:
    """Return collapsed stacks of a worker that does all events, and its CPU-us per event."""
    spy = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    load(bootstrap, events, PARTITIONS)
    raw = folder / "stacks.txt"
    sampling = (spy, "record", "--rate", str(SAMPLES_PER_SECOND), "--format", "raw")
    command = (*sampling, "--output", str(raw), "--duration", "3600", "--full-filenames", "--")
    served = (*BATUTA, "worker", "fraud", "--stages", "ingestion,scoring")
    process = EngineProcess((*command, *served, "--bootstrap", bootstrap), {}, folder / "log")
    progress = Progress(bootstrap, "scoring", TOPICS.ingested, PARTITIONS)
    try:
        marks: list[tuple[int, float]] = []
        for share in (0.05, 0.95, 1.0):
            while (done := progress.done()) < share * events:
                assert not process.ended, process.said()
                time.sleep(0.02)
            marks.append((done, worker_cpu_s(process)))
        # py-spy writes what it has when it is interrupted.
        subprocess.run(["kill", "-INT", str(process.pid)], check=True)
        until = time.monotonic() + 60
        while not process.ended and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        process.kill()
    (first, before_s), (last, after_s), _ = marks
    return raw.read_text(), (after_s - before_s) / (last - first) * 1e6


def worker_cpu_s(process: EngineProcess) -> float:
    """Return the CPU time of the worker without that of its sampler."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return process.cpu_s() - ticks / 100


def by_step(raw: str, cpu_us: float) -> dict[str, float]:
    seen: Counter[str] = Counter()
    for frames, count in stacks(raw):
        if not any(mark in frame for frame in frames for mark in STARTING):
            seen[step_of(frames)] += count
    total = sum(seen.values())
    return {step: round(count / total * cpu_us, 2) for step, count in seen.most_common()}


class Flame:
    """A flame graph: one box per frame, as wide as its share, callers below what they call."""

    def __init__(self, raw: str) -> None:
        self._root: dict[str, Any] = {"count": 0, "inner": {}}
        for frames, count in stacks(raw):
            node = self._root
            node["count"] += count
            for frame in frames:
                node = node["inner"].setdefault(frame, {"count": 0, "inner": {}})
                node["count"] += count

    def svg(self) -> str:
        boxes = list(self._boxes(self._root, 0.0, 0))
        height = (max((depth for depth, _ in boxes), default=0) + 2) * ROW
        drawn = "".join(box.format(y=height - (depth + 1) * ROW) for depth, box in boxes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{height}" '
            f'font-family="monospace" font-size="11">{drawn}</svg>'
        )

    def _boxes(self, node: dict[str, Any], x: float, depth: int) -> Iterator[tuple[int, str]]:
        scale = WIDTH / max(1, self._root["count"])
        for frame, inner in sorted(node["inner"].items()):
            width = inner["count"] * scale
            if width >= 0.5:
                yield depth, self._box(frame, inner["count"], x, width)
                yield from self._boxes(inner, x, depth + 1)
            x += width

    def _box(self, frame: str, count: int, x: float, width: float) -> str:
        name = html.escape(frame).replace("{", "(").replace("}", ")")
        share = count / self._root["count"]
        tint = 40 + sum(frame.encode()) % 150
        text = name[: int(width / 7)] if width > 30 else ""
        return (
            f'<g transform="translate({x:.1f},{{y}})"><title>{name}: {share:.1%}</title>'
            f'<rect width="{width:.1f}" height="{ROW - 1}" fill="rgb(235,{tint},40)"/>'
            f'<text x="2" y="11">{text}</text></g>'
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--flame", type=Path, help="where the SVG goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = ApacheKafka(find_libraries(POM), Path(folder) / "kafka")
        try:
            raw, cpu_us = profile(broker.bootstrap, options.events, Path(folder))
        finally:
            broker.stop()
    steps = by_step(raw, cpu_us)
    if options.flame is not None:
        options.flame.write_text(Flame(raw).svg())
    if options.json:
        print(json.dumps({"cpu_us_per_event": round(cpu_us, 2), "steps": steps}))
        return
    for step, cost in steps.items():
        print(f"{step:14s} {cost:7.2f} CPU-us/event {cost / cpu_us:6.1%}")
    print(f"{'all':14s} {cpu_us:7.2f} CPU-us/event")


if __name__ == "__main__":
    main()
