"""Publishes what sample events turned out to be: late, as in life, by the time of the samples.

A label goes out once the events have come as far as its own time; when they end, those that are
left follow. As in life nobody reports what is as it should be: only what the pipeline looks for has
a label. Spoiled events have none.
"""

import time
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple, cast

import orjson

from batuta.agents.pipelines import LoadedPipeline
from batuta.schemas.errors import UsageError
from batuta.schemas.record import Output
from batuta.schemas.times import parse_rfc3339
from batuta.schemas.topics import Topics
from batuta.streams.demo.speaker import Speaker
from batuta.streams.demo.spoil import Sample
from batuta.streams.publisher import Timed
from batuta.streams.settings import ClientOptions

__all__ = ["Feedback", "KnownLabel"]


class KnownLabel(NamedTuple):
    """A label that is due, and the event it is of."""

    event_id: str
    output: Output


class Feedback(Speaker):
    """The labels of one run; of a pipeline without labels there are none.

    async with Feedback(options, loaded) as feedback:
        await feedback.publish(feedback.known(block))  # for each block of events
        await feedback.publish(feedback.rest())
    """

    def __init__(self, options: ClientOptions, loaded: LoadedPipeline) -> None:
        topics, rule = Topics(loaded.pipeline.name), loaded.pipeline.labels
        super().__init__(options, topics.feedback, speaks=rule is not None)
        self._event_time = loaded.pipeline.source.time_field
        self._label_time = "" if rule is None else rule.time_field
        self._waiting: list[tuple[int, int, KnownLabel]] = []
        self._number = count()

    @property
    def published(self) -> int:
        """How many labels went out."""
        return 0 if self._publisher is None else self._publisher.published

    def known(self, block: Sequence[Sample]) -> list[KnownLabel]:
        """Take note of events that go out, and return the labels that are known by then.

        Raises:
            UsageError: the pipeline's samples have labels without a time.
        """
        good = [sample for sample in block if not sample.spoiled]
        if not self._speaks or not good:
            return []
        until_ms = _time_ms(good[-1].output.value, self._event_time)
        for sample in good:
            if sample.label is not None:
                known_ms = _time_ms(sample.label, self._label_time)
                output = Output(self._topic, sample.identity.encode(), sample.label)
                label = KnownLabel(sample.identity, output)
                heappush(self._waiting, (known_ms, next(self._number), label))
        due: list[KnownLabel] = []
        while self._waiting and self._waiting[0][0] <= until_ms:
            due.append(heappop(self._waiting)[2])
        return due

    def rest(self) -> list[KnownLabel]:
        """Return the labels that are left when no more events come."""
        labels = [label for _, _, label in sorted(self._waiting)]
        self._waiting.clear()
        return labels

    async def publish(self, labels: Sequence[KnownLabel]) -> None:
        """Publish labels, in order.

        Raises:
            OutputRefusedError: the broker refused one.
        """
        if self._publisher is not None and labels:
            now_ms = time.time_ns() // 1_000_000
            await self._publisher.publish([Timed(now_ms, label.output) for label in labels])

    async def flush(self) -> None:
        """Wait until every label is acknowledged.

        Raises:
            OutputRefusedError: the broker refused one.
        """
        if self._publisher is not None:
            await self._publisher.flush()


def _time_ms(body: bytes | None, field: str) -> int:
    try:
        return parse_rfc3339(cast("dict[str, str]", orjson.loads(body or b""))[field])
    except (KeyError, TypeError, ValueError) as error:
        said = (body or b"").decode(errors="replace")
        raise UsageError(
            f"samples: {said:.200} has no time in {field!r}; write it as 2018-04-01T10:17:43Z"
        ) from error
