"""What tests of the lane runtime need: a small stage with state, and a worker that runs it.

The stage counts events per key. Each event, `{"id": ...}` under a key, gives one output with the
key's count so far; the counts are the lane's state, kept in a changelog. So lost, doubled and
reordered events, and state that is older or newer than the offsets, all show in the outputs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import CollectorRegistry

from batuta.agents.state.event_time import BEFORE_ALL_MS
from batuta.schemas.codec import Refused
from batuta.schemas.errors import RefusedEventError, StateCorruptError
from batuta.schemas.record import Output
from batuta.streams.app import LaneApp
from batuta.streams.lanes.stage import EventTime, Stage
from batuta.streams.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence

    from faust.types import StreamT

    from batuta.agents.state.port import Change
    from batuta.schemas.record import Record
    from batuta.streams.lanes.batch import Batch
    from batuta.streams.lanes.source import Source

__all__ = ["CountingWorker", "Counts", "Item", "Layout", "lane_settings"]

#: Short, so that tests of dead owners end soon; the relations of the real ones hold.
_SETTINGS: Final = {
    "session_timeout_ms": 2_500,
    "heartbeat_interval_ms": 250,
    "rebalance_timeout_ms": 6_000,
    "request_timeout_ms": 8_000,
    "transaction_timeout_ms": 4_000,
    "poll_timeout_ms": 50,
    "retry_backoff_ms": 20,
    "retry_backoff_ms_max": 200,
    "retry_attempts_max": 3,
    "batch_records_max": 100,
}


def lane_settings(bootstrap: str, **overrides: object) -> Settings:
    """Return settings with short timeouts."""
    return load_settings(**{"bootstrap": bootstrap, **_SETTINGS, **overrides})


@dataclass(frozen=True)
class Layout:
    """The topics and the group of one counting stage; every topic has `partitions` partitions."""

    group: str
    inputs: tuple[str, ...]
    outputs: str
    deadletters: str
    changelog: str
    partitions: int = 2

    @property
    def topics(self) -> dict[str, int]:
        """Every topic and its partition count."""
        names = (*self.inputs, self.outputs, self.deadletters, self.changelog)
        return dict.fromkeys(names, self.partitions)


@dataclass(frozen=True, slots=True)
class Item:
    """A decoded event."""

    record: Record
    event_id: int


@dataclass(frozen=True, slots=True)
class Intake:
    """A decoded batch."""

    items: list[Item]
    refused: list[Refused]


def decode(records: Sequence[Record], now_ms: int) -> Intake:
    """Decode events; what is no JSON object with an id is refused."""
    del now_ms
    intake = Intake([], [])
    for position, record in enumerate(records):
        try:
            event_id = int(orjson.loads(record.value or b"")["id"])
        except (ValueError, TypeError, KeyError):
            error = RefusedEventError("not_an_event", "expected a JSON object with an id")
            intake.refused.append(Refused(position, error))
        else:
            intake.items.append(Item(record, event_id))
    return intake


@dataclass
class Counts:
    """How many events each key had; taking one back from the changelog takes `load_s`."""

    kept: dict[bytes, int] = field(default_factory=dict[bytes, int])
    layers: list[dict[bytes, int]] = field(default_factory=list[dict[bytes, int]])
    load_s: float = 0.0
    watermark_ms: int = BEFORE_ALL_MS

    def add(self, key: bytes) -> int:
        """Count one event and return the key's count."""
        assert self.layers, "counting outside a batch"
        known = next((layer[key] for layer in reversed(self.layers) if key in layer), None)
        count = self.layers[-1][key] = (self.kept.get(key, 0) if known is None else known) + 1
        return count

    def begin(self) -> None:
        """Open a batch."""
        self.layers.append({})

    def changes(self, now_ms: int) -> list[Change]:
        """Return the counts that the newest batch changed."""
        del now_ms
        return [(key, b"%d" % count) for key, count in sorted(self.layers[-1].items())]

    def commit(self) -> None:
        """Keep those of the oldest."""
        self.kept.update(self.layers.pop(0))

    def rollback(self) -> None:
        """Forget those of the newest."""
        self.layers.pop()

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one back from the changelog."""
        time.sleep(self.load_s)
        if value is None or not value.isdigit():
            raise StateCorruptError(f"count of {key!r} is {value!r}")
        self.kept[key] = int(value)

    def dump(self) -> list[Change]:
        """Return every count."""
        return [(key, b"%d" % count) for key, count in self.kept.items()]

    def entries(self) -> int:
        """Return how many keys were counted."""
        return len(self.kept)


class CountingWorker:
    """One worker that runs the counting stage in this process.

    Args:
        settings: of the worker.
        layout: what it reads and writes.
        think: called with each batch before it is counted; raises or waits where a test wants it.
        ask: called with each batch after it is counted, as a model would be asked.
        event_time: what the stage hears and tells of it; an event's id is its time.

    Attributes:
        states: the state of each start of a lane, in order: more than one for a lane is a restore.
        committed: how many events this worker committed.
        load_s: how long a record of the changelog takes to load.
    """

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        think: Callable[[Batch[Item, Counts]], Awaitable[None]] | None = None,
        ask: Callable[[Batch[Item, Counts]], Coroutine[Any, Any, None]] | None = None,
        event_time: EventTime | None = None,
    ) -> None:
        self.layout = layout
        self.states: list[Counts] = []
        self.committed = 0
        self.registry = CollectorRegistry()
        self.app = LaneApp(settings, layout.topics, self.registry)
        self.load_s = 0.0
        self.think = think
        self._ask = ask
        stage = Stage(
            pipeline="lanes",
            name="counting",
            group=layout.group,
            inputs=layout.inputs,
            decode=decode,
            open_state=self._open_state,
            changelog=layout.changelog,
            deadletters=layout.deadletters,
            event_time=event_time,
        )
        channel = self.app.lanes(stage)

        @self.app.agent(channel, name=layout.group, concurrency=self.app.concurrency(stage))
        async def count(batches: StreamT[Batch[Item, Counts]]) -> None:
            async for batch in batches:
                await self.before(batch)
                async with batch:
                    await self._count(batch)

        del count

    async def before(self, batch: Batch[Item, Counts]) -> None:
        """Do what a careless agent does before it opens its batch: by default nothing."""

    @property
    def source(self) -> Source:
        """The stage's source."""
        (source,) = self.app.sources
        return source

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over the labels not given."""
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def start(self) -> None:
        """Start the app; `source.ready` says when its lanes are at work."""
        self.app.finalize()
        await self.app.start()
        self.app.flow_control.resume()
        await self.app.add_runtime_dependency(self.source)

    async def stop(self) -> None:
        """Drain and leave."""
        await self.source.drain()
        await self.source.stop()
        await self.app.stop()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[CountingWorker]:
        """Run until the block ends."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def run_for_ever(self) -> None:
        """Run until this process ends."""
        await self.start()
        await asyncio.Event().wait()

    def _open_state(self) -> Counts:
        self.states.append(Counts(load_s=self.load_s))
        return self.states[-1]

    async def _count(self, batch: Batch[Item, Counts]) -> None:
        if self.think is not None:
            await self.think(batch)
        state = batch.context.state
        for item in batch.items:
            key = item.record.key or b""
            state.watermark_ms = max(state.watermark_ms, item.event_id)
            counted = {"id": item.event_id, "count": state.add(key)}
            batch.forward(Output(self.layout.outputs, key, orjson.dumps(counted)))
        if self._ask is not None:
            await batch.ask(batch.items, self._ask(batch))
        batch.after_commit(lambda: self.note(len(batch.items)))

    def note(self, count: int) -> None:
        """Count events that were committed."""
        self.committed += count
