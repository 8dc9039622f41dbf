"""A stand-in for `LaneApp`: the same surface for stages, without Faust underneath.

A Faust app costs a second and threads of its own; a rehearsal makes thousands. Stages, batches,
sources and lanes are the real ones; agents are tasks that iterate over a bounded queue.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar, cast

from prometheus_client import CollectorRegistry

from batuta.agents.state.port import State
from batuta.schemas.partition import PartitionOf
from batuta.streams.app import LaneApp
from batuta.streams.lanes.batch import Batch, Handover
from batuta.streams.lanes.log import Log
from batuta.streams.lanes.source import Source
from batuta.streams.lanes.stage import AnyStage, Stage
from batuta.streams.lanes.world import LaneWorld
from batuta.streams.settings import Settings
from batuta.streams.telemetry.stage_telemetry import StageTelemetry

if TYPE_CHECKING:
    from faust.types import ChannelT

__all__ = ["AgentFunction", "AnyBatch", "Channel", "StandInApp", "Surroundings"]

_REGISTRY: Final = CollectorRegistry()
ItemT = TypeVar("ItemT")
StateT = TypeVar("StateT", bound=State)
AnyBatch = Batch[object, State]
AgentFunction = Callable[[AsyncIterator[AnyBatch]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker's app is given.

    Attributes:
        topics: name to partition count.
        clock: the worker's wall clock, milliseconds since 1970 UTC.
        saw: told of each batch that a lane gives to its agent.
        died: told of each agent that ended, with the error.
    """

    settings: Settings
    topics: Mapping[str, int]
    log: Log
    clock: Callable[[], int]
    saw: Callable[[AnyStage, AnyBatch], None]
    died: Callable[[str, BaseException], None]


class Channel:
    """A bounded queue of batches, iterated by any number of agents."""

    def __init__(self, maxsize: int, saw: Callable[[AnyBatch], None]) -> None:
        self._queue: asyncio.Queue[AnyBatch] = asyncio.Queue(maxsize)
        self._saw = saw

    async def send(self, *, value: AnyBatch) -> None:
        """Put a batch in; waits for room."""
        self._saw(value)
        await self._queue.put(value)

    async def take(self) -> AnyBatch:
        """Take the oldest out; waits for one."""
        return await self._queue.get()


class _Stream:
    """One agent's iteration; a batch that the agent drops is told to its lane."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._handover = Handover()

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> AnyBatch:
        batch = await self._channel.take()
        return cast("AnyBatch", self._handover(batch))


@cache
def _telemetry(pipeline: str, stage: str) -> StageTelemetry:
    """Return one telemetry for all workers of all seeds: making one is slow, reading it nobody."""
    return StageTelemetry(pipeline, stage, _REGISTRY)


class StandInApp:
    """An app whose agents iterate over the batches of lanes."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._world = surroundings
        self._partition_of = {n: PartitionOf(count) for n, count in surroundings.topics.items()}
        self._agents: list[tuple[str, Channel, int, AgentFunction]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.sources: list[Source] = []

    @property
    def as_lane_app(self) -> LaneApp:
        """This app, as stages want it."""
        return cast("LaneApp", self)

    def lanes(self, stage: Stage[ItemT, StateT]) -> Channel:
        """Return the channel on which the batches of a stage arrive."""
        channel = Channel(self.concurrency(stage), lambda batch: self._world.saw(stage, batch))
        world = LaneWorld(
            settings=self._world.settings,
            log=self._world.log,
            channel=cast("ChannelT[object]", channel),
            telemetry=self.telemetry(stage.pipeline, stage.name),
            partition_of=self._partition_of,
            clock=self._world.clock,
        )
        self.sources.append(Source(stage, world))
        return channel

    def agent(
        self, channel: Channel, *, name: str, concurrency: int
    ) -> Callable[[AgentFunction], AgentFunction]:
        """Let a function be the agent of a channel, as often as `concurrency` says."""

        def register(function: AgentFunction) -> AgentFunction:
            self._agents.append((name, channel, concurrency, function))
            return function

        return register

    def telemetry(self, pipeline: str, stage: str) -> StageTelemetry:
        """Return the telemetry of a stage, the same one at each call."""
        return _telemetry(pipeline, stage)

    def concurrency(self, stage: AnyStage) -> int:
        """Return how many batches of a stage may be under way at once."""
        return self.lane_count(stage) * self._world.settings.batches_in_flight_max

    def lane_count(self, stage: AnyStage) -> int:
        """Return how many lanes a stage has in the whole group."""
        return self.partitions(stage.inputs[0])

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return self._world.topics[topic]

    @property
    def agents(self) -> dict[str, tuple[AnyStage, AgentFunction]]:
        """Each stage with its agent, by group."""
        functions = {name: function for name, _, _, function in self._agents}
        stages = [source.stage for source in self.sources]
        return {stage.group: (stage, functions[stage.group]) for stage in stages}

    async def start(self) -> None:
        """Start agents and sources."""
        for name, channel, concurrency, function in self._agents:
            for _ in range(concurrency):
                self._tasks.append(asyncio.create_task(self._run(name, channel, function)))
        for source in self.sources:
            await source.start()

    async def stop(self) -> None:
        """Finish what is under way, then leave the groups, as a worker does on SIGTERM."""
        timeout_s = self._world.settings.drain_timeout_ms / 1000
        drains = [asyncio.ensure_future(source.drain()) for source in self.sources]
        await asyncio.wait(drains, timeout=timeout_s)
        for source in self.sources:
            await source.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, name: str, channel: Channel, function: AgentFunction) -> None:
        try:
            await function(_Stream(channel))
        except Exception as error:  # noqa: BLE001  told as a finding
            self._world.died(name, error)
