# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["bytewax[kafka]==0.21.1", "confluent-kafka==2.12.2", "orjson==3.13.0"]
# ///
"""Bytewax: no recovery store, so that nothing is remembered or committed over a restart."""

from __future__ import annotations

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main
from work import BOOTSTRAP, INPUT, OUTPUT, Transaction, decide

Sum = tuple[int, float]


def decode(message) -> tuple[str, Transaction]:  # noqa: ANN001  a KafkaSourceMessage
    tx = orjson.loads(message.value)
    return tx["card_id"], tx


def step(known: Sum | None, tx: Transaction) -> tuple[Sum, KafkaSinkMessage]:
    n, total = known or (0, 0.0)
    n, total = n + 1, total + tx["amount"]
    decision = orjson.dumps(decide(tx, n, total))
    return (n, total), KafkaSinkMessage(tx["card_id"].encode(), decision)


flow = Dataflow("bench")
messages = op.input(
    "in", flow, KafkaSource([BOOTSTRAP], [INPUT], tail=True, starting_offset=-2, batch_size=1000)
)
decided = op.stateful_map("score", op.map("decode", messages, decode), step)
op.output("out", op.map("value", decided, lambda pair: pair[1]), KafkaSink([BOOTSTRAP], OUTPUT))

if __name__ == "__main__":
    cluster_main(flow, [], 0)
