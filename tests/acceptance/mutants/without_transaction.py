"""A worker that writes its outputs first and its offsets later, in no transaction."""

import asyncio
import sys
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from batuta.streams import lane
from batuta.streams.cli import main
from batuta.streams.producer import Destination, LaneProducer, Row
from batuta.streams.settings import Settings, client_options


class WithoutTransaction(LaneProducer):
    """Sends, waits a moment in which a kill doubles everything, then commits the offsets."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        self._settings = settings
        self._plain = AIOKafkaProducer(
            **client_options(settings), client_id=transactional_id, linger_ms=5
        )

    async def start(self) -> None:
        await self._plain.start()

    async def transact(
        self,
        rows: Mapping[Destination, Iterable[Row]],
        offsets: Mapping[TopicPartition, int],
        group: str,
    ) -> None:
        for (topic, partition), partition_rows in rows.items():
            for key, value, headers in partition_rows:
                await self._plain.send(
                    topic, value, key, partition=partition, headers=list(headers)
                )
        await self._plain.flush()
        await asyncio.sleep(0.3)
        await self._commit(offsets, group)

    async def _commit(self, offsets: Mapping[TopicPartition, int], group: str) -> None:
        committer = AIOKafkaConsumer(
            **client_options(self._settings), group_id=group, enable_auto_commit=False
        )
        await committer.start()
        committer.assign(list(offsets))
        await committer.commit(dict(offsets))
        await committer.stop()

    async def discard(self) -> None:
        await self._plain.stop()


lane.LaneProducer = WithoutTransaction  # type: ignore[misc]
sys.exit(main())
