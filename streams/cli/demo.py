"""`batuta demo [PIPELINE]`: everything at once, on this machine, to look at."""

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json, MetricsPort, Rate, Seed, Spoiled
from batuta.streams.cli.signals import run_until_stopped, sigterm_interrupts, until_first
from batuta.streams.cli.terminal import print_json, say, stdout, step

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from contextlib import AbstractContextManager

    from batuta.streams.demo.session import Load
    from batuta.streams.demo.view import Result, Stage
    from batuta.streams.house import House
    from batuta.streams.lifecycle import Worker
    from batuta.streams.pipelines.loading import PipelineOnDisk
    from batuta.streams.settings import Settings

__all__ = ["demo"]

_RATE: Final = 1_000.0
_SPOILED: Final = 0.01
#: The embedded broker is new each time, so the same events may come each time; elsewhere an event
#: seen before would rightly be dropped as a redelivery.
_EMBEDDED_SEED: Final = 7


def demo(
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="A shipped pipeline, or a file.")
    ] = "fraud",
    *,
    events: Annotated[
        int | None,
        typer.Option("--events", metavar="N", min=1, help="End after N events; else serve."),
    ] = None,
    rate: Rate = _RATE,
    spoiled: Spoiled = _SPOILED,
    seed: Seed = None,
    bootstrap: Bootstrap = None,
    partitions: Annotated[
        int | None,
        typer.Option("--partitions", metavar="N", min=1, help="Of the topics that are created."),
    ] = None,
    metrics_port: MetricsPort = None,
    as_json: Json = False,
) -> None:
    """See a pipeline at work on generated events.

    Trains a small model, runs all stages, serves metrics and shows what is decided. Starts the
    embedded broker where no Kafka is named, and serves until Ctrl-C. A reader of its own counts
    what comes back: the exit code is 1 where an event was lost or decided twice, or a label was not
    joined with its event.

    Example: batuta demo fraud --events 20000 --json
    """
    from batuta.streams.settings import load_settings

    sigterm_interrupts()
    settings = load_settings(
        bootstrap=bootstrap, partitions=partitions, metrics_port=metrics_port, log_level="error"
    )
    plan = _Plan(pipeline, events, rate, spoiled, seed, as_json)
    try:
        result = _demonstrate(plan, settings)
    except KeyboardInterrupt:  # before there was anything to end
        leave(Exit.YES)
    if result is None:
        return
    if as_json:
        print_json(dict(result))
    else:
        from batuta.streams.cli.demo_screen import summary

        stdout().print(summary(result))
    for fault in result["faults"]:
        say(fault, style="red")
    if result["faults"]:
        leave(Exit.NEGATIVE)


@dataclass(frozen=True)
class _Plan:
    pipeline: str
    events: int | None
    rate: float
    spoiled: float
    seed: int | None
    as_json: bool


def _demonstrate(plan: _Plan, settings: "Settings") -> "Result | None":
    with step("libraries"):
        from batuta.streams.pipelines.finding import find_pipeline
        from batuta.streams.telemetry.logs import configure_logs

    configure_logs(settings)
    on_disk = find_pipeline(plan.pipeline)
    with _broker(settings) as reached, _stood_in(plan.pipeline, on_disk, settings):
        embedded = reached is not settings
        with step("model") as said:
            house = _furnished(on_disk, reached, embedded=embedded)
            said(_versions(house))
        cast = _Cast(plan, reached, on_disk, house, embedded)
        return run_until_stopped(lambda stop: _run(cast, stop))


def _furnished(on_disk: "PipelineOnDisk", settings: "Settings", *, embedded: bool) -> "House":
    """Open the models; what follows a registry finds its version in that of the broker."""
    from batuta.streams.pipelines.furnishing import furnish
    from batuta.streams.registry.stocking import stock

    if embedded:
        asyncio.run(stock(on_disk, settings))
    return furnish(on_disk, settings, lambda what: say(what, style="dim"))


def _versions(house: "House") -> str:
    models = house.models
    versions = [one.version for one in models.values()] if isinstance(models, Mapping) else []
    return ", ".join(versions)


@dataclass(frozen=True)
class _Cast:
    """All who take part."""

    plan: _Plan
    settings: "Settings"
    on_disk: "PipelineOnDisk"
    house: "House"
    embedded: bool

    def load(self) -> "Load":
        """Return what to publish."""
        from batuta.streams.demo.feedback import Feedback
        from batuta.streams.demo.reviewers import Reviewers
        from batuta.streams.demo.samples import fresh_seed, samples_of
        from batuta.streams.demo.session import Load
        from batuta.streams.settings import client_options

        plan = self.plan
        otherwise = _EMBEDDED_SEED if self.embedded else fresh_seed()
        seed = otherwise if plan.seed is None else plan.seed
        loaded = self.on_disk.loaded
        options = client_options(self.settings)
        samples = samples_of(loaded, seed, plan.events, plan.spoiled)
        return Load(samples, plan.rate, Feedback(options, loaded), Reviewers(options, loaded))

    def stage(self, worker: "Worker") -> "Stage":
        """Return the scene for those who watch."""
        from batuta.streams.demo.view import Stage

        return Stage(
            pipeline=self.on_disk.loaded.pipeline.name,
            bootstrap=self.settings.brokers,
            embedded=self.embedded,
            model=_versions(self.house),
            metrics_url=worker.metrics_url,
            stages=self.on_disk.loaded.stages,
            spoiled_share=self.plan.spoiled,
            labelled=self.on_disk.loaded.pipeline.labels is not None,
        )


@contextmanager
def _broker(settings: "Settings") -> "Generator[Settings]":
    """Yield the settings with a broker in them: the one given, else a child process."""
    if settings.bootstrap is not None:
        yield settings
        return
    from batuta.streams.broker.process import BrokerProcess

    with step("broker") as said:
        child = BrokerProcess()
        said(f"{child.bootstrap}, embedded, in memory")
    with child:
        yield settings.model_copy(update={"bootstrap": child.bootstrap})


def _stood_in(
    pipeline: str, on_disk: "PipelineOnDisk", settings: "Settings"
) -> "AbstractContextManager[None]":
    """Serve chat models that nobody named; on somebody's own Kafka, nothing is stood in for."""
    from batuta.streams.cli.stand_in import stand_in

    return nullcontext() if settings.bootstrap is not None else stand_in(pipeline, on_disk)


async def _run(cast: _Cast, stop: asyncio.Event) -> "Result | None":
    """Serve until the events are through or `stop` is set; None where it was set too early."""
    from batuta.streams.cli.demo_watch import watching
    from batuta.streams.demo.session import Session
    from batuta.streams.settings import client_options

    async with _worker(cast, stop) as worker:
        if stop.is_set():
            return None
        stage = cast.stage(worker)
        session = Session(worker, stage, client_options(cast.settings))
        with watching(cast.plan.as_json, cast.plan.events, cast.settings) as watch:
            result = await session.run(cast.load(), stop, watch)
    return result


@asynccontextmanager
async def _worker(cast: _Cast, stop: asyncio.Event) -> "AsyncGenerator[Worker]":
    """Yield a worker that is ready, or not where `stop` was set before it was."""
    from batuta.streams.lifecycle import Worker

    worker = Worker(cast.settings, cast.house)
    try:
        with step("worker") as said:
            await until_first(_start(worker), stop.wait())
            if not stop.is_set():
                said(", ".join(cast.on_disk.loaded.stages))
        yield worker
    finally:
        await worker.stop()


async def _start(worker: "Worker") -> None:
    await worker.start()
    await worker.wait_ready()
