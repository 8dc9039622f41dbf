"""The command prints figures of engines that did their work, and of no others."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest
from engine import Run
from limit_check import PAIRS_MAX, WORSE_MAX, pairs, recorded
from yardstick.engines import Engine, Launch, UnavailableError
from yardstick.figures import table

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 6_000

#: Writes what is expected of every event, but for what it is told to spoil; works meanwhile.
PEER = """
import os, sys, time
from confluent_kafka import Producer
from peers.work import decide, transaction
import orjson
cards, rows = {}, []
for number in range(int(sys.argv[1])):
    tx = transaction(number)
    n, total = cards.get(tx["card_id"], (0, 0.0))
    cards[tx["card_id"]] = n, total = n + 1, total + tx["amount"]
    rows.append(orjson.dumps(decide(tx, n, total)))
spoil = sys.argv[2]
if spoil == "wrong": rows[7] = rows[7].replace(b'"n":1', b'"n":2')
if spoil == "doubled": rows.append(rows[7])
if spoil == "dies": sys.exit("out of luck")
producer = Producer({"bootstrap.servers": os.environ["BENCH_BOOTSTRAP"]})
for start in range(0, len(rows), 500):
    for row in rows[start : start + 500]: producer.produce(os.environ["BENCH_OUTPUT"], row)
    producer.flush()
    # Long enough for the meter to look in between, on a busy machine as well.
    until = time.process_time() + 0.1
    while time.process_time() < until: pass
time.sleep(600)
"""


def engine(name: str, folder: Path) -> Engine:
    program = folder / "peer.py"
    program.write_text(PEER)

    def prepare() -> Launch:
        if name == "missing":
            raise UnavailableError("no such engine here")
        path = {"PYTHONPATH": ":".join(sys.path)}
        return Launch((sys.executable, str(program), str(EVENTS), name), "1", path)

    return Engine(name, "none", "none", "none", prepare)


def test_only_engines_that_did_their_work_get_figures(embedded_broker: str, tmp_path: Path) -> None:
    options = Namespace(only=None, rounds=1, events=EVENTS, warm=0.3, partitions=2)
    names = ("right", "wrong", "doubled", "dies", "missing")
    run = Run(options, [engine(name, tmp_path) for name in names])
    run.go(embedded_broker)
    report = run.report()
    assert set(report["engines"]) == {"right"}
    assert report["engines"]["right"]["cpu_us_per_event"] > 10
    assert set(report["failed"]) == {"wrong", "doubled", "dies", "missing"}
    assert "1 wrong" in report["failed"]["wrong"]
    assert "1 doubled" in report["failed"]["doubled"]
    assert "out of luck" in report["failed"]["dies"]
    assert "no such engine here" in report["failed"]["missing"]
    shown = table(report)
    assert all(f"{name}: NO FIGURE" in shown for name in report["failed"])


@pytest.mark.slow
def test_the_engine_is_no_further_from_the_limit_than_recorded(embedded_broker: str) -> None:
    bound = recorded() * WORSE_MAX
    seen: list[float] = []
    for ratio in pairs(embedded_broker):
        seen.append(ratio)
        if ratio <= bound:
            return
    pytest.fail(
        f"ours / limit was {seen} in {PAIRS_MAX} pairs, {recorded()} is recorded: the engine is "
        "slower; find out why, or record anew with benchmarks/limit_check.py --record"
    )
