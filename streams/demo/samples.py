"""The events a demonstration publishes: a pipeline's generated ones, a few of them spoiled."""

import time
from collections.abc import Iterator
from itertools import islice

from batuta.agents.pipelines import Shipped
from batuta.schemas.record import Output
from batuta.schemas.topics import Topics
from batuta.streams.demo.spoil import Sample, spoil_some

__all__ = ["fresh_seed", "samples_of"]


def fresh_seed() -> int:
    """Return a seed that no earlier run has used: the second of the clock."""
    return int(time.time())


def samples_of(
    shipped: Shipped, seed: int, count: int | None, spoiled_share: float
) -> Iterator[Sample]:
    """Yield sample events of a pipeline, without end where `count` is None."""
    topic = Topics(shipped.pipeline.name).events
    events = shipped.samples(seed, time.time_ns() // 1_000_000)
    samples = (
        Sample(
            event.event_id,
            Output(topic, event.key.encode(), event.data),
            label=event.label if event.positive else None,
        )
        for event in events
    )
    return spoil_some(islice(samples, count), spoiled_share, shipped.pipeline.source, seed)
