"""The limit: an aiokafka loop with one transaction per batch and no engine around it.

What any engine in Python adds is more than this: no rebalance is handled, no failure, no state is
restored. With `--changelog` it writes what it remembers too, as durable state would have it.
"""

from __future__ import annotations

import asyncio
import struct
import sys

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from work import BOOTSTRAP, GROUP, INPUT, OUTPUT, decide

RECORDS_MAX = 8_000
STATE = f"{OUTPUT}.state" if "--changelog" in sys.argv else None

pack = struct.Struct(">qd").pack
Row = tuple[bytes, bytes]


async def write(
    producer: AIOKafkaProducer, topic: str, partition: int, rows: list[Row]
) -> list[asyncio.Future[object]]:
    sent: list[asyncio.Future[object]] = []
    batch = producer.create_batch()
    for key, value in rows:
        if batch.append(key=key, value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    return sent


async def main() -> None:
    consumer = AIOKafkaConsumer(
        INPUT,
        bootstrap_servers=BOOTSTRAP,
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=BOOTSTRAP,
        transactional_id=GROUP,
        linger_ms=0,
        retry_backoff_ms=5,
        max_batch_size=1 << 20,
    )
    await consumer.start()
    await producer.start()
    cards: dict[str, tuple[int, float]] = {}
    while True:
        got = await consumer.getmany(timeout_ms=200, max_records=RECORDS_MAX)
        if not got:
            continue
        await producer.begin_transaction()
        sent: list[asyncio.Future[object]] = []
        offsets: dict[TopicPartition, int] = {}
        for tp, records in got.items():
            rows: list[Row] = []
            changed: set[str] = set()
            for record in records:
                tx = orjson.loads(record.value)
                card = tx["card_id"]
                n, total = cards.get(card, (0, 0.0))
                n, total = n + 1, total + tx["amount"]
                cards[card] = (n, total)
                changed.add(card)
                rows.append((record.key, orjson.dumps(decide(tx, n, total))))
            sent += await write(producer, OUTPUT, tp.partition, rows)
            if STATE is not None:
                states = [(card.encode(), pack(*cards[card])) for card in changed]
                sent += await write(producer, STATE, tp.partition, states)
            offsets[tp] = records[-1].offset + 1
        await asyncio.gather(*sent)
        await producer.send_offsets_to_transaction(offsets, GROUP)
        await producer.commit_transaction()


if __name__ == "__main__":
    asyncio.run(main())
