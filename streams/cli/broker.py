"""`batuta broker`: the embedded broker alone."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import Annotated

import typer

__all__ = ["broker"]


def broker(
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port to bind; 0 picks a free one.")
    ] = 9092,
    *,
    auto_create_topics: Annotated[
        bool, typer.Option(help="Create a topic when somebody asks for it.")
    ] = False,
    faults: Annotated[
        Path | None, typer.Option(help="A JSON file of faults to inject, for tests.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Keep topics, records, offsets and transactions in this folder."),
    ] = None,
    sync_commits: Annotated[
        bool,
        typer.Option(help="Answer a commit only when it survives the end of the machine."),
    ] = False,
    salvage: Annotated[
        bool,
        typer.Option(help="Set aside what is damaged in the data folder, and serve the rest."),
    ] = False,
    until_stdin_closes: Annotated[
        bool, typer.Option(help="Stop when whoever started this is gone.")
    ] = False,
) -> None:
    """Run the embedded Kafka broker alone.

    One process, for laptops and tests, in memory unless `--data-dir` is given. Prints
    `ready HOST:PORT` when it listens and serves until Ctrl-C.

    With `--data-dir`, whatever was acknowledged is with the operating system: it survives the end
    of this process, kill -9 included. Against the end of the machine it is synced once a second,
    on a clean stop, and for topics with `flush.messages` after so many batches; `--sync-commits`
    syncs each transaction before it is answered. A write that did not finish is cut off at the
    next start; damage anywhere else stops the start, naming file and byte.

    Example: batuta broker --port 9092 --data-dir ./kafka-data
    """
    from batuta.streams.broker.serving import ServeOptions, serve
    from batuta.streams.broker.settings import BrokerSettings

    settings = BrokerSettings(auto_create_topics=auto_create_topics, sync_commits=sync_commits)
    options = ServeOptions(host, port, faults, until_stdin_closes, settings, data_dir, salvage)
    asyncio.run(serve(options))
