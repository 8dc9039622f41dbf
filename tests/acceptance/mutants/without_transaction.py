"""A worker whose outputs are in no transaction: only its offsets are, a moment later."""

import asyncio
import sys
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaProducer, TopicPartition

from batuta.streams.cli import main
from batuta.streams.lanes import kafka_log
from batuta.streams.lanes.batch_limits import BatchLimits
from batuta.streams.lanes.producer import Destination, LaneProducer, Row
from batuta.streams.settings import Settings, client_options


class WithoutTransaction(LaneProducer):
    """Sends, waits a moment in which a kill doubles everything, then commits the offsets."""

    def __init__(self, settings: Settings, transactional_id: str, limits: BatchLimits) -> None:
        super().__init__(settings, transactional_id, limits)
        self._plain = AIOKafkaProducer(**client_options(settings), linger_ms=5)

    async def start(self) -> None:
        await super().start()
        await self._plain.start()

    async def transact(
        self,
        rows: Mapping[Destination, Iterable[Row]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> dict[Destination, int]:
        for (topic, partition), partition_rows in rows.items():
            for key, value, headers in partition_rows:
                await self._plain.send(
                    topic, value, key, partition=partition, headers=list(headers)
                )
        await self._plain.flush()
        await asyncio.sleep(0.5)
        return await super().transact({}, offsets, group)

    async def discard(self) -> None:
        await self._plain.stop()
        await super().discard()


names = kafka_log.__dict__
assert names["LaneProducer"] is LaneProducer, "nothing uses what this mutant replaces"
names["LaneProducer"] = WithoutTransaction
sys.exit(main())
