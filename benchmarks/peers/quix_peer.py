# /// script
# requires-python = ">=3.11"
# dependencies = ["quixstreams==3.28.1", "orjson==3.13.0"]
# ///
"""Quix Streams: exactly once, state in RocksDB with a changelog."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import orjson
from quixstreams import Application
from work import BOOTSTRAP, COMMIT_INTERVAL_MS, GROUP, INPUT, OUTPUT, decide

if TYPE_CHECKING:
    from quixstreams.state import State

app = Application(
    broker_address=BOOTSTRAP,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    state_dir=tempfile.mkdtemp(dir=os.environ.get("BENCH_FOLDER")),
    loglevel="WARNING",
    **({"commit_interval": int(COMMIT_INTERVAL_MS) / 1000} if COMMIT_INTERVAL_MS else {}),
)


def step(value: bytes, state: State) -> bytes:
    tx = orjson.loads(value)
    n, total = state.get("sum") or (0, 0.0)
    n, total = n + 1, total + tx["amount"]
    state.set("sum", (n, total))
    return orjson.dumps(decide(tx, n, total))


source = app.topic(INPUT, value_deserializer="bytes", key_deserializer="bytes")
target = app.topic(OUTPUT, value_serializer="bytes", key_serializer="bytes")
app.dataframe(source).apply(step, stateful=True).to_topic(target)

if __name__ == "__main__":
    app.run()
