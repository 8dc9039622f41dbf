"""`batuta explain EVENT_ID`: the whole story of one decision."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from batuta.schemas.errors import TopicMismatchError
from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from batuta.agents.pipelines import Shipped
    from batuta.streams.cli.story import Story

__all__ = ["explain"]


def explain(
    event_id: Annotated[
        str, typer.Argument(metavar="EVENT_ID", help="The event's identity, e.g. tx-000003527.")
    ],
    *,
    pipeline: Annotated[
        str,
        typer.Option("--pipeline", metavar="NAME", help="The pipeline that decided; or its file."),
    ] = "fraud",
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Tell the whole story of one decision.

    What was decided, why, by which model, when, and what came of it. Reads the pipeline's topics
    from their beginning. Leaves with 1 where nothing is found.

    Example: batuta explain tx-000003527 --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.cli.pipelines import shipped_pipeline
    from batuta.streams.cli.story_screen import story_as_json, story_as_text

    shipped = shipped_pipeline(pipeline)
    try:
        search = asyncio.run(_search(_Question(event_id, shipped, bootstrap)))
    except TopicMismatchError as missing:
        what = f"{missing}; another pipeline than {shipped.pipeline.name} is named by --pipeline"
        raise TopicMismatchError(what) from missing
    if as_json:
        print_json(story_as_json(search.story, shipped))
    elif search.story.told:
        stdout().print(story_as_text(search.story, shipped))
    if not search.story.told:
        say(_nothing(search, shipped.pipeline.name), style="yellow")
        leave(Exit.NEGATIVE)


@dataclass(frozen=True)
class _Question:
    event_id: str
    shipped: "Shipped"
    bootstrap: str | None


@dataclass(frozen=True)
class _Answer:
    story: "Story"
    searched: int


async def _search(question: _Question) -> _Answer:
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.progress import meter
    from batuta.streams.cli.story import StorySearch
    from batuta.streams.topic_reader import TopicReader

    search = StorySearch(question.shipped, question.event_id)
    options = connection(question.bootstrap)
    searched = 0
    async with TopicReader(options, search.topics) as reader:
        with meter(f"looking for {question.event_id}", await reader.remaining()) as bar:
            async for records in reader.until_end():
                for record in records:
                    search.take(record)
                searched += len(records)
                bar.reach(searched)
    return _Answer(search.story, searched)


def _nothing(answer: _Answer, pipeline: str) -> str:
    return (
        f"nothing about {answer.story.event_id} among {answer.searched:,} records of {pipeline}: "
        f"`batuta tail {pipeline}.decisions --from-beginning` shows ids that are there"
    )
