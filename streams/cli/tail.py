"""`batuta tail TOPIC`: what arrives on a topic, as it arrives."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer

from batuta.streams.cli.options import Bootstrap
from batuta.streams.cli.signals import run_until_stopped
from batuta.streams.cli.terminal import print_json, say, silence_stdout, stdout

__all__ = ["tail"]


def tail(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="What to follow.")],
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Show what is there already, then follow.")
    ] = False,
    records_max: Annotated[
        int | None, typer.Option("--max", metavar="N", min=1, help="Leave after N records.")
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object per record and line; so it is when piped."),
    ] = False,
) -> None:
    """Follow the committed records of a topic.

    Example: batuta tail fraud.decisions --from-beginning --max 10 --bootstrap 127.0.0.1:9092
    """
    pretty = stdout().is_terminal and not as_json
    plan = _Plan(topic, from_beginning, records_max, bootstrap, pretty)
    try:
        run_until_stopped(lambda stop: _tail(plan, stop))
    except BrokenPipeError:  # whoever read us has seen enough: `batuta tail ... | head`
        silence_stdout()


@dataclass(frozen=True)
class _Plan:
    topic: str
    from_beginning: bool
    records_max: int | None
    bootstrap: str | None
    pretty: bool


async def _tail(plan: _Plan, stop: asyncio.Event) -> None:
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.records import as_json, as_text
    from batuta.streams.topic_reader import TopicReader

    options = connection(plan.bootstrap)
    async with TopicReader(options, [plan.topic]) as reader:
        if not plan.from_beginning:
            await reader.from_end()
        if plan.pretty:
            say(f"following {plan.topic}; Ctrl-C ends it", style="dim")
        left = plan.records_max
        async for records in reader.follow(stop):
            shown = records if left is None else records[:left]
            for record in shown:
                if plan.pretty:
                    stdout().print(as_text(record), soft_wrap=True)
                else:
                    print_json(as_json(record))
            left = None if left is None else left - len(shown)
            if left == 0:
                return
