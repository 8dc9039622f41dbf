"""Stock Faust with a table: at least once, in memory beside its changelog."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import TYPE_CHECKING

import faust
import orjson
from work import BOOTSTRAP, COMMIT_INTERVAL_MS, GROUP, INPUT, OUTPUT, PARTITIONS, decide

if TYPE_CHECKING:
    from faust.types import StreamT

app = faust.App(
    GROUP,
    broker=f"kafka://{BOOTSTRAP}",
    store="memory://",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    stream_wait_empty=False,
    web_enabled=False,
    datadir=tempfile.mkdtemp(dir=os.environ.get("BENCH_FOLDER")),
    **({"broker_commit_interval": int(COMMIT_INTERVAL_MS) / 1000} if COMMIT_INTERVAL_MS else {}),
)
source = app.topic(INPUT, value_serializer="raw", key_serializer="raw", partitions=PARTITIONS)
target = app.topic(OUTPUT, value_serializer="raw", key_serializer="raw", partitions=PARTITIONS)
cards = app.Table("cards", default=None, partitions=PARTITIONS, key_type=str)


@app.agent(source)
async def scorer(stream: StreamT[bytes]) -> None:
    async for message in stream.events():
        tx = orjson.loads(message.value)
        card = tx["card_id"]
        n, total = cards.get(card) or (0, 0.0)
        n, total = n + 1, total + tx["amount"]
        cards[card] = (n, total)
        await target.send(key=message.key, value=orjson.dumps(decide(tx, n, total)))


if __name__ == "__main__":
    sys.argv[1:] = ["worker", "-l", "warn"]
    app.main()
