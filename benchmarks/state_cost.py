"""What durable state adds to the engine, measured: CPU-us per event.

    uv run python benchmarks/state_cost.py --json

The engine's own work is a keyed count and sum over 5,000 live keys in batches of 2,000, kept in a
plain dict. State adds what that dict does not do: layers that can be undone, the changelog records
of what each batch changed, and handing them to the producer's batch builder. Both run by turns in
one process, so their difference is what state adds; nothing is sent, as sending what a batch wrote
is the producer's, and goes by its bytes. Trailing windows and deduplication are measured whole:
what they are is state.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections import deque
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable
from batuta.agents.understanding.deduplication import Deduplication
from batuta.agents.understanding.windows import TrailingWindows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batuta.agents.state.port import Change, StateTable

DAY_MS = 86_400_000
OPEN_MAX = 3
BUILDER_BYTES = 64 << 20

Batch = list[tuple[str, float]]


class Sum(NamedTuple):
    """What the work keeps of a key."""

    seen: int
    total: float


@dataclass(frozen=True)
class Figure:
    """CPU-us per event, median of the rounds."""

    what: str
    cpu_us_per_event: float


def batches(options: argparse.Namespace) -> list[Batch]:
    """Return the events of one round."""
    random = Random(1)
    names = [f"card-{number:06d}" for number in range(options.keys)]
    return [
        [(random.choice(names), random.random()) for _ in range(options.batch)]
        for _ in range(options.batches)
    ]


def count_in_dict(rounds: Sequence[Batch]) -> None:
    """Do the work without state."""
    sums: dict[str, Sum] = {}
    for batch in rounds:
        for key, amount in batch:
            before = sums.get(key)
            sums[key] = Sum(1, amount) if before is None else Sum(before[0] + 1, before[1] + amount)


def count_in_table(rounds: Sequence[Batch]) -> None:
    """Do the same work in a keyed table, batches overlapping, changes written."""
    codec = Codec(TEXT, Packed(">qd", Sum))
    table: KeyedTable[str, Sum] = KeyedTable(b"s", codec, "sums", entries_max=1_000_000)

    def work(batch: Batch) -> None:
        get, put = table.get, table.put
        for key, amount in batch:
            before = get(key)
            put(key, Sum(1, amount) if before is None else Sum(before[0] + 1, before[1] + amount))

    live(table, rounds, work)


def live(table: StateTable, rounds: Sequence[Batch], work: Callable[[Batch], None]) -> None:
    """Let a table live through batches as a lane does."""
    opened: deque[list[Change]] = deque()
    for number, batch in enumerate(rounds):
        table.begin()
        work(batch)
        opened.append(table.changes(number * 1_000))
        if len(opened) == OPEN_MAX:
            build(opened.popleft())
            table.commit()


def build(changes: Sequence[Change]) -> None:
    """Put changelog records into a producer's batch, as the lane does."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, 1, 0, 0, BUILDER_BYTES)
    for offset, (key, value) in enumerate(changes):
        builder.append(offset, None, key, value, [])
    builder.build()


def observe_windows(rounds: Sequence[Batch]) -> None:
    """Take every event into three trailing windows with means."""
    table = TrailingWindows(b"w", (DAY_MS, 7 * DAY_MS, 30 * DAY_MS), with_mean=True)
    numbers = iter(range(len(rounds)))

    def work(batch: Batch) -> None:
        times = next(numbers) * 1_000 + np.arange(len(batch))
        amounts = np.array([amount for _, amount in batch])
        table.observe([key for key, _ in batch], times, amounts)

    live(table, rounds, work)


def deduplicate(rounds: Sequence[Batch]) -> None:
    """Remember the id of every event."""
    table = Deduplication(b"d", 7 * DAY_MS, 2_000_000)
    names = [[f"tx-{number}-{n}" for n in range(len(batch))] for number, batch in enumerate(rounds)]
    numbers = iter(range(len(rounds)))

    def work(batch: Batch) -> None:
        number = next(numbers)
        table.classify(names[number], [b"8 bytes."] * len(batch), number * 1_000)

    live(table, rounds, work)


def cost_us(run: Callable[[Sequence[Batch]], None], rounds: Sequence[Batch]) -> float:
    """Return the CPU-us per event of one run."""
    gc.collect()
    gc.freeze()
    started = time.process_time()
    run(rounds)
    took_s = time.process_time() - started
    return took_s / sum(map(len, rounds)) * 1e6


def measure(options: argparse.Namespace) -> list[Figure]:
    """Run all by turns; return the median of each, and what state adds."""
    rounds = batches(options)
    runs = {
        "work in a dict": count_in_dict,
        "work in a keyed table": count_in_table,
        "windows": observe_windows,
        "deduplication": deduplicate,
    }
    for run in runs.values():
        run(rounds[:20])
    turns = [
        {name: cost_us(run, rounds) for name, run in runs.items()} for _ in range(options.rounds)
    ]
    figures = {name: statistics.median(turn[name] for turn in turns) for name in runs}
    added = [turn["work in a keyed table"] - turn["work in a dict"] for turn in turns]
    figures["state adds"] = statistics.median(added)
    return [Figure(name, round(cost, 3)) for name, cost in figures.items()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5_000, help="live keys")
    parser.add_argument("--batch", type=int, default=2_000, help="events in a batch")
    parser.add_argument("--batches", type=int, default=200, help="batches in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options)
    if options.json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures]}))
        return
    for figure in figures:
        print(f"{figure.what:24s} {figure.cpu_us_per_event:7.2f} CPU-us/event")


if __name__ == "__main__":
    main()
