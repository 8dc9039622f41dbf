"""What state costs as it grows: bytes per key, and CPU-us per event while so many are held.

    uv run python benchmarks/state_growth.py --json

A running count and sum per key in a keyed table. Memory is what the process grew by, the table's
own; cost is that of batches of 2,000 events on keys drawn at random from all that are held, with
changes told and committed. Beside it stands what a bare dict of the same bytes costs for the same
keys, read and written once: what rises in both is the processor's, which finds fewer of them in its
caches, and what rises in the table alone would be ours.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from struct import Struct
from typing import NamedTuple

from batuta.agents.state.codecs import TEXT, Codec, Packed
from batuta.agents.state.keyed import KeyedTable

BATCH = 2_000
BATCHES = 60
SUM = Struct(">qd")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sum(NamedTuple):
    """What is kept of a key."""

    seen: int
    total: float


@dataclass(frozen=True)
class Figure:
    """A table of so many keys."""

    keys: int
    bytes_per_key: float
    cpu_us_per_event: float
    dict_cpu_us_per_event: float


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def measure(keys: int) -> Figure:
    """Fill a table and work on it, in this process, which has held none before."""
    codec = Codec(TEXT, Packed(">qd", Sum))
    table: KeyedTable[str, Sum] = KeyedTable(b"s", codec, "sums", entries_max=2 * keys)
    gc.collect()
    before = resident()
    for start in range(0, keys, BATCH):
        table.begin()
        for number in range(start, min(keys, start + BATCH)):
            table.put(f"card-{number:08d}", Sum(1, 1.0))
        table.changes(0)
        table.commit()
    gc.collect()
    grown = resident() - before
    gc.freeze()
    cost_us, bare_us = (statistics.median(them) for them in costs_us(table, keys))
    return Figure(keys, grown / keys, cost_us, bare_us)


def costs_us(table: KeyedTable[str, Sum], keys: int) -> tuple[list[float], list[float]]:
    """Return the costs of batches: of the table, and of a bare dict, by turns."""
    bare = {f"card-{number:08d}".encode(): SUM.pack(1, 1.0) for number in range(keys)}
    gc.freeze()
    random, costs, bare_costs = Random(1), [], []
    for _ in range(BATCHES):
        names = [f"card-{random.randrange(keys):08d}" for _ in range(BATCH)]
        started = time.process_time()
        table.begin()
        for name in names:
            seen, total = table.get(name) or (0, 0.0)
            table.put(name, Sum(seen + 1, total + 1.0))
        table.changes(0)
        table.commit()
        costs.append((time.process_time() - started) / BATCH * 1e6)
        started = time.process_time()
        for name in names:
            raw = name.encode()
            seen, total = SUM.unpack(bare[raw])
            bare[raw] = SUM.pack(seen + 1, total + 1.0)
        bare_costs.append((time.process_time() - started) / BATCH * 1e6)
    return costs, bare_costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", default="10000,100000,1000000", help="with commas")
    parser.add_argument("--one", type=int, help="this many alone, in this process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(options.one))))
        return
    figures = [
        json.loads(subprocess.check_output([sys.executable, __file__, "--one", keys]))
        for keys in options.keys.split(",")
    ]
    if options.json:
        print(json.dumps({"figures": figures}))
        return
    for figure in figures:
        print(
            f"{figure['keys']:10,d} keys {figure['bytes_per_key']:7.0f} bytes/key "
            f"{figure['cpu_us_per_event']:6.2f} CPU-us/event "
            f"(a bare dict {figure['dict_cpu_us_per_event']:.2f})"
        )


if __name__ == "__main__":
    main()
