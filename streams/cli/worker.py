"""`batuta worker PIPELINE`: a stream worker, for production."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from batuta.streams.cli.options import Bootstrap, MetricsPort, PipelineName
from batuta.streams.cli.signals import run_until_stopped, sigterm_interrupts, until_first

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batuta.agents.models.port import AnyModel
    from batuta.streams.lifecycle import Worker
    from batuta.streams.pipelines.loading import PipelineOnDisk
    from batuta.streams.settings import Settings

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
    import structlog

    from batuta.streams.pipelines.finding import find_pipeline
    from batuta.streams.pipelines.opening import open_models
    from batuta.streams.registry.live import live_models
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
    on_disk = find_pipeline(pipeline)
    names = _stage_names(stages)
    log = structlog.get_logger(__name__)
    live = live_models(
        settings,
        on_disk,
        lambda offset, v: log.info("model_live", control_offset=offset, version=v),
    )
    models = open_models(
        on_disk, settings.model_dir, lambda what: log.info("model", doing=what), live
    )
    crew = _Crew(settings, on_disk, models, names)
    run_until_stopped(lambda stop: _work(crew, stop))


@dataclass(frozen=True)
class _Crew:
    """What a worker is made of."""

    settings: "Settings"
    on_disk: "PipelineOnDisk"
    models: "Mapping[str, AnyModel]"
    stages: tuple[str, ...]


def _stage_names(given: str | None) -> tuple[str, ...]:
    from batuta.schemas.errors import UsageError
    from batuta.streams.lifecycle import STAGE_NAMES

    names = STAGE_NAMES if given is None else tuple(name.strip() for name in given.split(","))
    unknown = [name for name in names if name not in STAGE_NAMES]
    if unknown:
        known = ",".join(STAGE_NAMES)
        raise UsageError(f"--stages names {unknown[0]!r}: expected some of {known}")
    return names


async def _work(crew: _Crew, stop: asyncio.Event) -> None:
    from batuta.streams.cli.restore_screen import show_restoring
    from batuta.streams.lifecycle import Worker

    worker = Worker(crew.settings, crew.on_disk.loaded, crew.models, stages=crew.stages)
    worker.deliver_to(crew.on_disk.sinks.values())
    showing = asyncio.create_task(show_restoring(worker.registry))
    try:
        await until_first(_start_and_run(worker), stop.wait())
    finally:
        showing.cancel()
        await worker.stop()


async def _start_and_run(worker: "Worker") -> None:
    await worker.start()
    await worker.run_until_stopped()
