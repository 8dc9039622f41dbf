"""The engine against the limit in seconds: what CI holds against the recorded ratio.

    uv run python benchmarks/limit_check.py --record

Rounds of batuta and rounds of a bare aiokafka loop take turns on the embedded broker, which is a
process of its own and is not counted. The measure is a ratio of CPU times within one pair, so that
a slower machine or a busy one meets both alike; what noise is left only ever comes and goes, a
slower engine stays slow. So a check takes pairs until one is within bounds, and fails when none is.
`--record` appends the best of all pairs to `benchmarks/history.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from yardstick.engines import ENGINES
from yardstick.figures import LIMIT, OURS
from yardstick.rounds import Bench
from yardstick.topics import Topics

from batuta.streams.broker.process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

HISTORY = Path(__file__).with_name("history.jsonl")
RECORDED = "ratio_to_limit_in_short_run"
EVENTS = 80_000
WARM_SHARE = 0.25
PAIRS_MAX = 5
WORSE_MAX = 1.2


def pairs(bootstrap: str) -> Iterator[float]:
    """Yield ours / limit in CPU per event, pair after pair."""
    bench = Bench(Topics(bootstrap, 2), EVENTS, WARM_SHARE)
    launches = {e.name: (e, e.prepare()) for e in ENGINES if e.name in (OURS, LIMIT)}
    for number in range(PAIRS_MAX):
        turns = sorted(launches, reverse=bool(number % 2))
        cost = {name: bench.run(*launches[name]).cpu_us_per_event for name in turns}
        yield cost[OURS] / cost[LIMIT]


def recorded() -> float:
    """Return the ratio that was recorded last."""
    lines = [json.loads(line) for line in HISTORY.read_text().splitlines()]
    return float(next(line[RECORDED] for line in reversed(lines) if RECORDED in line))


def append(**figures: object) -> None:
    """Add a line to the history, under the commit that was measured."""
    git = ("git", "-C", str(HISTORY.parent))
    commit = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    date = subprocess.run(
        [*git, "show", "-s", "--format=%cs", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with HISTORY.open("a") as history:
        history.write(json.dumps({"commit": commit, "date": date, **figures}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="append to the history")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with BrokerProcess() as broker:
        ratios = [round(ratio, 3) for ratio in pairs(broker.bootstrap)]
    if options.record:
        append(**{RECORDED: min(ratios)})
    if options.json:
        print(json.dumps({"ratios": ratios, RECORDED: min(ratios)}))
    else:
        print(f"ours / limit, pair by pair: {ratios}; best {min(ratios)}")


if __name__ == "__main__":
    main()
