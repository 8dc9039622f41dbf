"""`batuta worker PIPELINE...`: a stream worker, for production."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from batuta.streams.cli.options import Bootstrap, MetricsPort
from batuta.streams.cli.signals import run_until_stopped, sigterm_interrupts, until_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batuta.streams.house import House
    from batuta.streams.lifecycle import Worker
    from batuta.streams.pipelines.loading import PipelineOnDisk
    from batuta.streams.settings import Settings

__all__ = ["worker"]


def worker(
    pipelines: Annotated[
        list[str],
        typer.Argument(metavar="PIPELINE...", help="Shipped pipelines, or files; one or several."),
    ],
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
    """Run the stages of pipelines, for production.

    Serves until SIGTERM or Ctrl-C, then drains and leaves its groups cleanly. Where a pipeline
    follows the registry, a version that is promoted is taken up while it runs.

    Start as many as there are partitions to share; each further one stands by.

    Several pipelines in one worker share the models they have in common, and nothing else: each has
    its own topics, groups and lanes, and one that fails leaves the others at work.

    Example: batuta worker fraud --bootstrap kafka:9092 --metrics-port 9100
    """
    from batuta.streams.lifecycle import stages_to_run
    from batuta.streams.pipelines.finding import find_pipeline
    from batuta.streams.settings import load_settings
    from batuta.streams.telemetry.logs import configure_logs

    sigterm_interrupts()
    settings = load_settings(
        bootstrap=bootstrap,
        metrics_port=metrics_port,
        connect_timeout_ms=None if connect_timeout is None else int(connect_timeout * 1_000),
    )
    configure_logs(settings)
    assert settings.brokers, "raises where none is given, before a model is made ready"
    found = [find_pipeline(one) for one in pipelines]
    given = None if stages is None else [name.strip() for name in stages.split(",")]
    names = stages_to_run(given, [one.loaded for one in found])
    houses = _furnished(found, settings)
    run_until_stopped(lambda stop: _work(_Crew(settings, houses, names), stop))


def _furnished(pipelines: "Sequence[PipelineOnDisk]", settings: "Settings") -> "tuple[House, ...]":
    """Open the models of some pipelines; those that several ask are opened once."""
    import structlog

    from batuta.streams.pipelines.furnishing import furnish
    from batuta.streams.pipelines.sharing import Shared

    log, shared = structlog.get_logger(__name__), Shared()
    return tuple(
        furnish(one, settings, lambda what: log.info("model", doing=what), shared)
        for one in pipelines
    )


@dataclass(frozen=True)
class _Crew:
    """What a worker is made of."""

    settings: "Settings"
    houses: "tuple[House, ...]"
    stages: tuple[str, ...]


async def _work(crew: _Crew, stop: asyncio.Event) -> None:
    from batuta.streams.cli.restore_screen import show_restoring
    from batuta.streams.lifecycle import Worker

    worker = Worker(crew.settings, *crew.houses, stages=crew.stages)
    showing = asyncio.create_task(show_restoring(worker.registry))
    try:
        await until_first(_start_and_run(worker), stop.wait())
    finally:
        showing.cancel()
        await worker.stop()


async def _start_and_run(worker: "Worker") -> None:
    await worker.start()
    await worker.run_until_stopped()
