"""One run of the demonstration: a worker, an open loop of events, and a reader that counts.

    publish ── fraud.events ── the worker's stages ── fraud.decisions, ... ── read and count

The reader is nobody's consumer group and trusts nothing but committed records. When publishing has
ended the run waits until every event has been answered, or until nothing has come for a while;
then the worker drains, and the reader reads to the end once more, so that a late double is seen.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from batuta.schemas.topics import Topics
from batuta.streams.demo.feedback import Feedback, KnownLabel
from batuta.streams.demo.reviewers import Reviewers
from batuta.streams.demo.spoil import Sample
from batuta.streams.demo.tally import Tally
from batuta.streams.demo.view import Pace, Result, Stage, View, result_of, view_of
from batuta.streams.lifecycle import Worker
from batuta.streams.open_loop import publish_open_loop
from batuta.streams.publisher import Publisher, Timed
from batuta.streams.settings import ClientOptions
from batuta.streams.topic_reader import TopicReader

__all__ = ["Load", "Session"]

_VIEW_EVERY_S: Final = 0.25
_RATE_OVER_S: Final = 5.0
#: How long nothing may come before what is missing counts as lost.
_PATIENCE_S: Final = 15.0
#: How long nothing must come after the last answer before the run counts as complete.
_QUIET_S: Final = 0.5


@dataclass(frozen=True)
class Load:
    """What is published: events, drawn when due, at a rate per second (0: as fast as it goes).

    Attributes:
        feedback: publishes their labels.
        reviewers: answer for the people whom the pipeline asks.
    """

    samples: Iterator[Sample]
    rate: float
    feedback: Feedback
    reviewers: Reviewers


class Session:
    """Publishes a load through a running worker and counts what comes back.

    Args:
        worker: started and ready.
        stage: what runs where, for those who watch.
        options: how to reach the brokers.
    """

    def __init__(self, worker: Worker, stage: Stage, options: ClientOptions) -> None:
        self._worker = worker
        self._stage = stage
        self._topics = Topics(stage.pipeline)
        self._tally = Tally(stage.pipeline, labelled=stage.labelled)
        self._publisher = Publisher(options, self._topics.events)
        self._reader = TopicReader(options, self._tally.topics)
        self._start_s = time.monotonic()
        self._answered: deque[tuple[float, int]] = deque()

    async def run(self, load: Load, stop: asyncio.Event, watch: Callable[[View], None]) -> Result:
        """Publish `load` until it ends or `stop` is set; see that everything is answered.

        Args:
            load: what to publish.
            stop: ends the run early, and cleanly.
            watch: shown the state several times a second.

        Returns:
            The result, ready for JSON.

        Raises:
            BatutaError: the worker, the publishing or the reading failed.
        """
        async with self._publisher, load.feedback, load.reviewers, self._reader:
            await self._reader.from_end()
            self._start_s = time.monotonic()
            await self._attended(load, stop, watch)
            await self._worker.stop()
            async for records in self._reader.until_end():
                self._tally.take(records, _now_ms())
        result = result_of(self._tally, self._stage, time.monotonic() - self._start_s)
        pace = Pace(result["seconds"], result["events_per_second"], ended=True)
        watch(view_of(self._tally, self._stage, pace))
        return result

    async def _attended(
        self, load: Load, stop: asyncio.Event, watch: Callable[[View], None]
    ) -> None:
        """Publish while reading, showing, and looking after the worker; end when it ends."""
        main = asyncio.create_task(self._publish_and_settle(load, stop))
        others = [
            asyncio.create_task(self._read(load.reviewers)),
            asyncio.create_task(self._show(watch)),
            asyncio.create_task(self._worker.run_until_stopped()),
        ]
        try:
            done, _ = await asyncio.wait([main, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            assert main in done, "only the work ends by itself"
        finally:
            for task in (main, *others):
                task.cancel()
            await asyncio.gather(main, *others, return_exceptions=True)

    async def _publish_and_settle(self, load: Load, stop: asyncio.Event) -> None:
        async def announce(block: Sequence[Sample], timed: Sequence[Timed]) -> None:
            self._tally.announce(block, timed)
            load.reviewers.announce(block)
            await self._label(load.feedback, load.feedback.known(block))

        await publish_open_loop(self._publisher, load.samples, load.rate, stop, announce)
        if not stop.is_set():
            await self._label(load.feedback, load.feedback.rest())
        await load.feedback.flush()
        await self._settle()

    async def _label(self, feedback: Feedback, labels: Sequence[KnownLabel]) -> None:
        self._tally.await_labels((label.event_id for label in labels), _now_ms())
        await feedback.publish(labels)

    async def _settle(self) -> None:
        """Wait until all is answered and quiet, or until nothing has come for too long."""
        tally, since_ms = self._tally, _now_ms()
        while True:
            quiet_s = (_now_ms() - max(since_ms, tally.last_seen_ms)) / 1_000
            joined = not tally.labels.awaited
            answered = not tally.lost and joined and tally.escalations >= tally.outcomes["review"]
            if quiet_s > (_QUIET_S if answered else _PATIENCE_S):
                return
            await asyncio.sleep(_QUIET_S / 10)

    async def _read(self, reviewers: Reviewers) -> None:
        while True:
            records, now_ms = await self._reader.poll(), _now_ms()
            if records:
                self._tally.take(records, now_ms)
                reviewers.hear(records, now_ms)
            await reviewers.say(now_ms)

    async def _show(self, watch: Callable[[View], None]) -> None:
        while True:
            watch(self._view())
            await asyncio.sleep(_VIEW_EVERY_S)

    def _view(self) -> View:
        now = time.monotonic()
        self._answered.append((now, self._tally.answered))
        while now - self._answered[0][0] > _RATE_OVER_S:
            self._answered.popleft()
        then, before = self._answered[0]
        per_second = (self._tally.answered - before) / max(now - then, 1e-9)
        pace = Pace(now - self._start_s, per_second)
        return view_of(self._tally, self._stage, pace)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
