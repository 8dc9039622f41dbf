"""Publishes a history in the order of its time: events as they happen, labels when they are known.

Behind each block it tells every partition of both topics that nothing earlier will come; behind
the last one, that nothing will come at all. It never runs far ahead of what is decided, so that
lanes of unlike speed hold little back. Labels of what the pipeline does not look for are left out,
as they are in life: an event of which nothing is heard counts as not marked.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from batuta.agents.history import History
from batuta.agents.samples import SampleEvent
from batuta.agents.state.event_time import AFTER_ALL_MS
from batuta.schemas.errors import UsageError
from batuta.schemas.record import Output
from batuta.schemas.topics import Topics
from batuta.schemas.watermark import Watermark, encode_watermark
from batuta.streams.publisher import Publisher, Timed

__all__ = ["HistoryPublisher"]

_BLOCK: Final = 5_000
#: So many events are published and not decided at most.
_AHEAD_MAX: Final = 60_000
_LOOK_S: Final = 0.02


class HistoryPublisher:
    """Publishes one history.

    Args:
        topics: of the pipeline.
        history: what is published.
        aligned: whether watermarks are told; the history must then be in the order of its time.

    Attributes:
        published: how many events went out.

    Raises:
        UsageError: it must be, and is not.
    """

    def __init__(self, topics: Topics, history: History, *, aligned: bool) -> None:
        self._topics = topics
        self._aligned = aligned
        self._times_ms: list[int] = history.times_ms.tolist()
        self._late_ms = history.label_after_ms
        self._samples: Iterator[SampleEvent] = history.events()
        self._labels: deque[tuple[int, SampleEvent]] = deque()
        self.published = 0
        if aligned and any(a > b for a, b in zip(self._times_ms, self._times_ms[1:], strict=False)):
            raise UsageError("the events of the history are not in the order of their time")

    async def publish(
        self, events: Publisher, feedback: Publisher, decided: Callable[[], int]
    ) -> None:
        """Publish everything.

        Args:
            events: to the topic of events.
            feedback: to that of feedback.
            decided: how many events are decided by now.

        Raises:
            OutputRefusedError: the broker refused a record.
        """
        while block := list(islice(self._samples, _BLOCK)):
            await self._wait_for(decided)
            begin, end = self.published, self.published + len(block)
            last = end == len(self._times_ms)
            until_ms = self._times_ms[end - 1] + 1 if last else self._times_ms[end]
            await self._send(feedback, self._known(block, begin, until_ms))
            topic = self._topics.events
            await self._send(events, [Output(topic, s.key.encode(), s.data) for s in block])
            if self._aligned:
                told_ms = AFTER_ALL_MS if last else until_ms
                await self._tell(events, self._topics.events, told_ms)
                await self._tell(feedback, self._topics.feedback, told_ms)
            self.published = end
            await asyncio.sleep(0)
        await events.flush()
        await feedback.flush()

    async def _wait_for(self, decided: Callable[[], int]) -> None:
        """Wait until few enough events are published and not decided."""
        while self.published - decided() > _AHEAD_MAX:  # noqa: ASYNC110 - a count, no event
            await asyncio.sleep(_LOOK_S)

    def _known(self, block: Sequence[SampleEvent], begin: int, until_ms: int) -> list[Output]:
        """Return the labels that become known before `until_ms`."""
        for place, sample in enumerate(block, begin):
            if sample.positive:
                self._labels.append((self._times_ms[place] + self._late_ms, sample))
        known: list[Output] = []
        while self._labels and self._labels[0][0] < until_ms:
            _, sample = self._labels.popleft()
            known.append(Output(self._topics.feedback, sample.event_id.encode(), sample.label))
        return known

    async def _tell(self, publisher: Publisher, topic: str, time_ms: int) -> None:
        mark = Watermark(0, time_ms)
        places = range(publisher.partitions)
        await self._send(publisher, [encode_watermark(mark, topic, place) for place in places])

    async def _send(self, publisher: Publisher, outputs: Sequence[Output]) -> None:
        if outputs:
            now_ms = time.time_ns() // 1_000_000
            await publisher.publish([Timed(now_ms, output) for output in outputs])
