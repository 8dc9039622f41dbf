"""`batuta broker`: the embedded broker alone."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

__all__ = ["broker"]


def broker(
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to bind; 0 picks a free one.")] = 9092,
    *,
    auto_create_topics: Annotated[
        bool, typer.Option(help="Create a topic when somebody asks for it.")
    ] = False,
    faults: Annotated[
        Path | None, typer.Option(help="A JSON file of faults to inject, for tests.")
    ] = None,
    until_stdin_closes: Annotated[
        bool, typer.Option(help="Stop when whoever started this is gone.")
    ] = False,
) -> None:
    """Run the embedded Kafka broker alone.

    One process, in memory, for laptops and tests. Prints `ready HOST:PORT` when it listens and
    serves until Ctrl-C.

    Example: batuta broker --port 9092
    """
    from batuta.streams.broker.serving import ServeOptions, serve
    from batuta.streams.broker.settings import BrokerSettings

    settings = BrokerSettings(auto_create_topics=auto_create_topics)
    asyncio.run(serve(ServeOptions(host, port, faults, until_stdin_closes, settings)))
