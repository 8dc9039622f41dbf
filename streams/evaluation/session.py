"""One evaluation's walk: workers, a publisher, a reader, until every event is decided.

    publish ── .events, .feedback ── the workers' stages ── .decisions ── read

Events without a decision are given up once nothing has come for a while, and told as lost.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from batuta.agents.history import History
from batuta.schemas.errors import UsageError
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.topics import Topics
from batuta.streams.evaluation.answers import Answers
from batuta.streams.evaluation.crew import Crew, CrewPlan
from batuta.streams.evaluation.publishing import HistoryPublisher
from batuta.streams.publisher import Publisher
from batuta.streams.settings import Settings, client_options
from batuta.streams.topic_admin import declare_topics, delete_topics, present_topics
from batuta.streams.topic_reader import TopicReader

__all__ = ["Walk", "WalkPlan", "is_aligned", "walk"]

#: How long nothing may come before what is missing counts as lost.
_PATIENCE_S: Final = 60.0
#: Topics keep little behind them: far more than is ever published and not decided.
_BOUNDS: Final = {"retention.bytes": str(64 * 1_048_576), "segment.bytes": str(8 * 1_048_576)}
#: Told how many events are decided; given the crew, so that a test may end one of it.
Watch = Callable[[int, Crew], None]


def _unwatched(decided: int, crew: Crew) -> None:
    del decided, crew


@dataclass(frozen=True)
class WalkPlan:
    """What walks through what.

    Attributes:
        name: of the pipeline, or the path of its file, as workers are started with.
        pipeline: what it is.
        history: what is published.
        settings: where the broker is.
        workers: how many processes share the lanes.
        watch: told as it goes on.
    """

    name: str
    pipeline: Pipeline
    history: History
    settings: Settings
    workers: int = 1
    watch: Watch = _unwatched


@dataclass(frozen=True)
class Walk:
    """What became of it.

    Attributes:
        answers: of each event.
        seconds: from the first event's publishing to the last decision.
        cpu_s: processor seconds by stage, of the workers that were not killed.
    """

    answers: Answers
    seconds: float
    cpu_s: dict[str, float]

    @property
    def lost(self) -> int:
        """How many events have no decision."""
        return len(self.answers) - self.answers.decided


def is_aligned(pipeline: Pipeline) -> bool:
    """Return whether events and labels of a replay must be taken in the order of their time."""
    return bool(pipeline.shares)


async def walk(plan: WalkPlan) -> Walk:
    """Send a history through the topics and agents of its pipeline.

    Raises:
        LaterError: a worker ended, or the broker refused.
        UsageError: the history is not in the order of its time, where it must be, or the broker has
            topics of the pipeline already.
    """
    topics, aligned = Topics(plan.pipeline.name), is_aligned(plan.pipeline)
    if present := await present_topics(plan.settings, topics):
        raise UsageError(
            f"{present[0]} is on the broker at {plan.settings.brokers} already: an evaluation "
            "makes and deletes the pipeline's topics; name a broker that has none of them"
        )
    publisher = HistoryPublisher(topics, plan.history, aligned=aligned)
    answers = Answers(plan.history.event_ids())
    await declare_topics(plan.settings, topics, _BOUNDS)
    crew = Crew(CrewPlan(plan.name, plan.settings.brokers, aligned, plan.settings.model_dir))
    options = client_options(plan.settings)
    reader = TopicReader(options, (topics.decisions,))
    try:
        await crew.start(plan.workers)
        async with (
            reader,
            Publisher(options, topics.events) as events,
            Publisher(options, topics.feedback) as feedback,
        ):
            start_s = time.monotonic()
            sending = asyncio.create_task(
                publisher.publish(events, feedback, lambda: answers.decided)
            )
            last_s = await _read(plan, reader, answers, (crew, sending))
    finally:
        await crew.stop()
        await delete_topics(plan.settings, topics)
    return Walk(answers, last_s - start_s, dict(crew.seconds))


async def _read(
    plan: WalkPlan,
    reader: TopicReader,
    answers: Answers,
    at_work: tuple[Crew, "asyncio.Task[None]"],
) -> float:
    """Read until all is decided, or nothing comes any more; return when the last one came."""
    crew, sending = at_work
    last_s = time.monotonic()
    try:
        while answers.decided < len(answers):
            crew.check()
            if sending.done():
                sending.result()
            records = await reader.poll()
            if records:
                before = answers.decided
                answers.take(records)
                last_s = time.monotonic() if answers.decided > before else last_s
                plan.watch(answers.decided, crew)
            elif time.monotonic() - last_s > _PATIENCE_S:
                break
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    return last_s
