"""`batuta worker PIPELINE`: a stream worker, for production."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

import typer

from batuta.streams.cli.options import Bootstrap, MetricsPort, PipelineName
from batuta.streams.cli.signals import run_until_stopped

__all__ = ["worker"]


def worker(
    pipeline: PipelineName,
    *,
    bootstrap: Bootstrap = None,
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages", metavar="A,B", help="Only these stages, by name, with commas; else all."
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    connect_timeout: Annotated[
        float | None,
        typer.Option(
            "--connect-timeout",
            metavar="SECONDS",
            min=0.001,
            help="Leave with 3 where no broker answers in time; else it is tried for ever.",
        ),
    ] = None,
) -> None:
    """Run a pipeline's stages, for production.

    Serves until SIGTERM or Ctrl-C, then drains and leaves its groups cleanly.

    Start as many as there are partitions to share; each further one stands by.

    Example: batuta worker fraud --bootstrap kafka:9092 --metrics-port 9100
    """
    plan = _Plan(pipeline, bootstrap, stages, metrics_port, connect_timeout)
    run_until_stopped(lambda stop: _work(plan, stop))


@dataclass(frozen=True)
class _Plan:
    pipeline: str
    bootstrap: str | None
    stages: str | None
    metrics_port: int | None
    connect_timeout_s: float | None


async def _work(plan: _Plan, stop: asyncio.Event) -> None:
    raise NotImplementedError
