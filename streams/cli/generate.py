"""`batuta generate PIPELINE`: sample events onto a pipeline's source topic."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from batuta.streams.cli.options import Bootstrap, Json, PipelineName, Rate, Seed, Spoiled
from batuta.streams.cli.signals import run_until_stopped
from batuta.streams.cli.terminal import print_json, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.agents.pipelines import Shipped
    from batuta.streams.demo.spoil import Sample
    from batuta.streams.publisher import Timed

__all__ = ["generate"]


def generate(
    pipeline: PipelineName,
    *,
    rate: Rate = 100.0,
    events: Annotated[
        int | None, typer.Option("--events", metavar="N", min=1, help="Leave after N; else serve.")
    ] = None,
    seed: Seed = None,
    spoiled: Spoiled = 0.0,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Publish sample events at a steady rate, and labels of them as they become known.

    The rate holds however fast or slowly they are answered. Each carries the time it was due as
    its timestamp, so that its age counts from then. What the pipeline looks for is labelled on its
    feedback topic once the events have come as far as the label's own time, such as a week later;
    what is not labelled when N events are out is labelled then.

    Example: batuta generate fraud --rate 1000 --events 60000 --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.cli.pipelines import shipped_pipeline

    plan = _Plan(shipped_pipeline(pipeline), rate, events, seed, spoiled, bootstrap)
    result = run_until_stopped(lambda stop: _generate(plan, stop))
    if as_json:
        print_json(result)
    else:
        labels = f" and {result['labels']:,} labels to {result['feedback']}"
        stdout().print(
            f"{result['events']:,} events published to {result['topic']}"
            f"{labels if result['labels'] else ''} in {result['seconds']} s, seed {result['seed']}",
            soft_wrap=True,
        )


@dataclass(frozen=True)
class _Plan:
    shipped: "Shipped"
    rate: float
    events: int | None
    seed: int | None
    spoiled: float
    bootstrap: str | None


async def _generate(plan: _Plan, stop: asyncio.Event) -> dict[str, object]:
    from batuta.schemas.topics import Topics
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.progress import meter
    from batuta.streams.demo.feedback import Feedback
    from batuta.streams.demo.samples import fresh_seed, samples_of
    from batuta.streams.open_loop import publish_open_loop
    from batuta.streams.publisher import Publisher

    topics = Topics(plan.shipped.pipeline.name)
    topic = topics.events
    seed = fresh_seed() if plan.seed is None else plan.seed
    samples = samples_of(plan.shipped, seed, plan.events, plan.spoiled)
    options = connection(plan.bootstrap)
    loop = asyncio.get_running_loop()
    async with (
        Publisher(options, topic) as publisher,
        Feedback(options, plan.shipped) as feedback,
    ):
        start_s = loop.time()
        with meter(f"publishing to {topic}", plan.events) as bar:

            async def announce(block: "Sequence[Sample]", timed: "Sequence[Timed]") -> None:
                del timed
                await feedback.publish(feedback.known(block))
                bar.reach(publisher.published)

            await publish_open_loop(publisher, samples, plan.rate, stop, announce)
        if not stop.is_set():
            await feedback.publish(feedback.rest())
        await feedback.flush()
        seconds = loop.time() - start_s
    return {
        "topic": topic,
        "events": publisher.published,
        "feedback": topics.feedback,
        "labels": feedback.published,
        "seconds": round(seconds, 3),
        "events_per_second": round(publisher.published / max(seconds, 1e-9), 1),
        "seed": seed,
    }
