"""Sample events: what a pipeline's generator gives to demonstrations, load and training."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

__all__ = ["Clock", "SampleEvent", "Samples"]

#: Milliseconds since 1970 UTC, whenever asked.
Clock = Callable[[], int]


class SampleEvent(NamedTuple):
    """One generated event.

    Attributes:
        event_id: under the pipeline's rule.
        key: the source's key.
        data: the payload, JSON.
        label: the outcome that will be known of it later, JSON.
        positive: whether that outcome is the one the pipeline looks for.
    """

    event_id: str
    key: str
    data: bytes
    label: bytes
    positive: bool


class Samples(Protocol):
    """Makes sample events; pure, the same arguments give the same events."""

    def __call__(self, seed: int, now_ms: int, clock: Clock | None = None) -> Iterator[SampleEvent]:
        """Yield events without end.

        Args:
            seed: tells runs apart: ids and entities of different seeds never meet.
            now_ms: no event's time lies after it. The world keeps its own pace before it, so that
                habits look the same at any rate of publishing.
            clock: where given, each event's time is what it says instead.
        """
        ...
