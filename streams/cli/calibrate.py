"""`batuta models calibrate`: what a model's confidence has come to mean."""

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json, PipelineName
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from batuta.agents.delegation.reached import Flags
    from batuta.agents.models.answers import Scores
    from batuta.agents.models.calibration import Calibration
    from batuta.streams.calibrating import Gathered
    from batuta.streams.pipelines.loading import PipelineOnDisk

__all__ = ["calibrate"]

_DAY_MS: Final = 86_400_000


def calibrate(
    pipeline: PipelineName,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="Which model of the pipeline; else the first."
        ),
    ] = None,
    silence_days: Annotated[
        float | None,
        typer.Option(
            "--silence-days",
            metavar="DAYS",
            min=0,
            help="What nothing is heard of for so long is not so; else it is not known.",
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Compare how sure a model said it was with how often it was right; print the line to write.

    Reads the decisions of this version of the pipeline and what became known of their events.
    Leaves with 1 where too few are known, or all that is known says the same.

    Example: batuta models calibrate fraud --model forest --bootstrap 127.0.0.1:9092
    """
    from batuta.agents.models.calibration import ANSWERS_MIN
    from batuta.streams.calibrating import Gathered
    from batuta.streams.pipelines.finding import find_pipeline

    on_disk = find_pipeline(pipeline)
    name = model or on_disk.loaded.plan.model
    so_far = _so_far(on_disk, name)
    gathered = Gathered(on_disk.loaded, name, _silent_before_ms(silence_days))
    asyncio.run(_read(gathered, bootstrap))
    said, right = gathered.pairs()
    known = len(said)
    enough = known >= ANSWERS_MIN and not gathered.one_sided
    found = _fitted(said, right, so_far) if enough else None
    if as_json:
        told = {"model": name, "answers": gathered.answered, "known": known}
        print_json(told if found is None else {**told, **asdict(found)})
    elif found is not None:
        line = ", ".join(f"[{word:g}, {meant:g}]" for word, meant in found.calibration)
        stdout().print(f"calibration: [{line}]", markup=False, soft_wrap=True)
        what = f"{known:,} answers of {name}: off by {found.error:.4f} as they stand"
        say(f"{what}, {found.error_after:.4f} with it")
    if found is None:
        what = f"of {gathered.answered:,} answers of {name} in this version {known:,} are known"
        lacking = f"{ANSWERS_MIN} are needed"
        if known >= ANSWERS_MIN:
            lacking = "all alike: where silence says no, add after how long, --silence-days 7"
        say(f"{what}; {lacking}", style="yellow")
        leave(Exit.NEGATIVE)


def _silent_before_ms(silence_days: float | None) -> int | None:
    if silence_days is None:
        return None
    return int(time.time() * 1_000 - silence_days * _DAY_MS)


@dataclass(frozen=True)
class _Found:
    """The line to write, and how far words are off without it and with it."""

    calibration: tuple[tuple[float, float], ...]
    error: float
    error_after: float


def _fitted(said: "Scores", right: "Flags", so_far: "Calibration | None") -> _Found:
    from batuta.agents.models.calibration import Calibration, calibration_error

    found = Calibration.fitted(said, right)
    whole = found if so_far is None else found.after(so_far)
    after = calibration_error(found.of(said), right)
    return _Found(whole.points, calibration_error(said, right), after)


def _so_far(on_disk: "PipelineOnDisk", name: str) -> "Calibration | None":
    """Return the calibration that answers so far have gone through.

    Raises:
        UsageError: there is no such model, or nothing is known of events later.
    """
    from batuta.schemas.errors import UsageError

    plan, models = on_disk.loaded.plan, on_disk.document.file.models
    if name not in models:
        known = ", ".join(models)
        raise UsageError(f"{name!r} is no model of {plan.pipeline.name}; choose one of: {known}")
    if on_disk.loaded.label is None:
        what = "has no labels, so nothing says who was right"
        raise UsageError(f"{plan.pipeline.name} {what}; add labels to its file")
    terms = plan.delegating.terms.get(name)
    return None if terms is None else terms.calibration


async def _read(gathered: "Gathered", bootstrap: str | None) -> None:
    from batuta.streams.cli.connection import connection
    from batuta.streams.cli.progress import meter
    from batuta.streams.topic_reader import TopicReader

    read = 0
    async with TopicReader(connection(bootstrap), gathered.topics) as reader:
        with meter(f"asking how often {gathered.model} was right", await reader.remaining()) as bar:
            async for records in reader.until_end():
                for record in records:
                    gathered.take(record)
                read += len(records)
                bar.reach(read)
