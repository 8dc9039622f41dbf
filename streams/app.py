"""The Faust app, with lanes where Faust would have its own consumers and producer.

Stock Faust on the data path loses and doubles events (docs/decisions/0001): its Kafka transport
stays off, its agents stay. Each stage's source sends whole batches through a Faust channel to a
real `@app.agent`; the channel is bounded, so a slow agent holds its lanes back and nothing else.
"""

import tempfile
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, TypeVar, cast

import faust
from faust.app.base import BootStrategy
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.types import ChannelT, StreamT
from mode.utils.types.trees import NodeT
from prometheus_client import CollectorRegistry

from batuta.agents.state.port import State
from batuta.schemas.partition import PartitionOf
from batuta.streams.lanes.batch import Batch, Handover
from batuta.streams.lanes.kafka_log import KafkaLog
from batuta.streams.lanes.kafka_shim import hear_failed_batches, hurry_transactions
from batuta.streams.lanes.log import Log
from batuta.streams.lanes.source import Source
from batuta.streams.lanes.stage import AnyStage, Stage
from batuta.streams.lanes.world import LaneWorld
from batuta.streams.settings import Settings
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

__all__ = ["LaneApp", "clock_ms"]

ItemT = TypeVar("ItemT")
StateT = TypeVar("StateT", bound=State)


def clock_ms() -> int:
    """Return milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class _NoKafka(BootStrategy):
    """Start sensors and agents alone: no Kafka client and no web server of Faust's."""

    enable_kafka = False
    enable_web = False


class _IdleConsumer(Consumer):
    """Faust's own consumer, never started, without the event loop of a thread it never runs."""

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return AIOKafkaConsumerThread(
            self, loop=self.loop, thread_loop=self.loop, beacon=self.beacon
        )


class LaneApp(faust.App):
    """A Faust app whose agents iterate over the batches of lanes."""

    BootStrategy = _NoKafka

    def __init__(
        self,
        settings: Settings,
        topics: Mapping[str, int],
        registry: CollectorRegistry,
        log: Log | None = None,
    ) -> None:
        hurry_transactions()
        hear_failed_batches()
        self._lane_settings = settings
        self._log: Log = log if log is not None else KafkaLog(settings)
        self._registry = registry
        self._partition_of = {name: PartitionOf(count) for name, count in topics.items()}
        self._topic_partitions = dict(topics)
        self._telemetries: dict[tuple[str, str], StageTelemetry] = {}
        self.sources: list[Source] = []
        # Faust wants a folder for tables we do not use.
        super().__init__(
            "batuta",
            broker=f"kafka://{settings.brokers.split(',')[0]}",
            store="memory://",
            web_enabled=False,
            autodiscover=False,
            datadir=tempfile.gettempdir(),
        )
        setattr(self.transport, "Consumer", _IdleConsumer)  # noqa: B010  a class attribute to mypy

    def lanes(self, stage: Stage[ItemT, StateT]) -> ChannelT[Batch[ItemT, StateT]]:
        """Return the channel on which the batches of a stage arrive."""
        channel: ChannelT[Batch[ItemT, StateT]] = self.channel(maxsize=self.concurrency(stage))
        world = LaneWorld(
            settings=self._lane_settings,
            log=self._log,
            channel=cast("ChannelT[object]", channel),
            telemetry=self.telemetry(stage.pipeline, stage.name),
            partition_of=self._partition_of,
            clock=clock_ms,
        )
        self.sources.append(Source(stage, world))
        return channel

    def stream(
        self,
        channel: AsyncIterable[Any] | Iterable[Any],
        beacon: NodeT[Any] | None = None,
        **kwargs: Any,
    ) -> StreamT[Any]:
        """Return an agent's stream of batches; one that the agent drops is told to its lane."""
        stream: StreamT[Any] = super().stream(channel, beacon, **kwargs)
        stream.add_processor(Handover())
        return stream

    def telemetry(self, pipeline: str, stage: str) -> StageTelemetry:
        """Return the telemetry of a stage, the same one at each call."""
        key = (pipeline, stage)
        if key not in self._telemetries:
            self._telemetries[key] = StageTelemetry(pipeline, stage, self._registry)
        return self._telemetries[key]

    def concurrency(self, stage: AnyStage) -> int:
        """Return how many batches of a stage may be under way at once."""
        return self.lane_count(stage) * self._lane_settings.batches_in_flight_max

    def lane_count(self, stage: AnyStage) -> int:
        """Return how many lanes a stage has in the whole group."""
        return self.partitions(stage.inputs[0])

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self._topic_partitions[topic]
