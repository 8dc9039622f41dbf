"""`batuta models`: the versions of models, and which of them is live."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from batuta.streams.cli.calibrate import calibrate
from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import Bootstrap, Json, PipelineName
from batuta.streams.cli.terminal import print_json, say, stdout

if TYPE_CHECKING:
    from batuta.schemas.model_version import ModelVersion, Stage
    from batuta.streams.registry.registry import Pointed, Registry
    from batuta.streams.registry.standing import Standing

__all__ = ["models"]

models = typer.Typer(
    name="models",
    help="List, register, promote, archive and show versions of models; calibrate them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

VersionId = Annotated[
    str, typer.Argument(metavar="VERSION", help="Its id, or the first digits of its sha256.")
]


@models.command("list")
def list_versions(
    pipeline: Annotated[
        str | None,
        typer.Argument(metavar="[PIPELINE]", help="Of one, by name or path; else of all."),
    ] = None,
    *,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """List the versions of models, and where each stands.

    Leaves with 1 where there is none.

    Example: batuta models list fraud --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.pipelines.finding import is_path

    registry = _registry(bootstrap)
    if pipeline is not None and is_path(pipeline):
        pipeline = _name_of(pipeline)
    standing = asyncio.run(registry.standing())
    found = standing.versions(pipeline)
    if as_json:
        told = [_as_json(one, standing) for one in found]
        print_json({"control_offset": standing.control_offset, "versions": told})
    for one in found if not as_json else ():
        stages = ", ".join(standing.stages(one)) or "registered"
        price = one.price or "not billed"
        line = f"{one.pipeline}  {one.version_id}  {stages}  {one.skill.kind}  {price}"
        stdout().print(line, markup=False)
    if not found:
        whose = "" if pipeline is None else f" of {pipeline}"
        say(f"no versions{whose}; batuta models register adds one", style="yellow")
        leave(Exit.NEGATIVE)


@models.command("register")
def register(
    pipeline: PipelineName,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="An ONNX file; else the model trained last."),
    ] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="Which model of the pipeline; else the first."
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Make a version of a model file: loaded once, kept by its hash, written down for good.

    Example: batuta models register fraud forest.onnx --bootstrap 127.0.0.1:9092
    """
    from batuta.streams.model_store import ModelStore
    from batuta.streams.pipelines.finding import find_pipeline
    from batuta.streams.registry.files import version_of
    from batuta.streams.settings import load_settings

    registry, on_disk = _registry(bootstrap), find_pipeline(pipeline)
    store = ModelStore(load_settings().model_dir)
    name = model or on_disk.loaded.plan.model
    version = version_of(on_disk, name, file, store, datetime.now(UTC))
    new = asyncio.run(registry.register(version))
    if as_json:
        print_json({"version_id": version.version_id, "sha256": version.sha256, "new": new})
    else:
        stdout().print(f"{version.version_id} {'registered' if new else 'is registered already'}")


@models.command("promote")
def promote(
    pipeline: PipelineName,
    version: VersionId,
    *,
    to: Annotated[
        Literal["shadow", "canary", "production"],
        typer.Option("--to", help="Where it stands from now on, in place of the one that does."),
    ] = "production",
    instead_of: Annotated[
        str | None,
        typer.Option(
            "--instead-of",
            metavar="VERSION",
            help="Only where this one stands there so far; leaves with 1 where another does.",
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Let a version stand at a stage; running workers follow the one in production.

    Back to an earlier one is a promotion like any other. Of two people who promote at the same time
    one leaves with 1, and nothing of theirs is written.

    Example: batuta models promote fraud forest@0123456789ab --bootstrap 127.0.0.1:9092
    """
    _point(_Move(pipeline, version, to, instead_of), bootstrap, as_json=as_json)


@models.command("archive")
def archive(
    pipeline: PipelineName,
    version: VersionId,
    *,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Put a version aside: it stays readable for the decisions that name it, and is never live.

    Example: batuta models archive fraud forest@0123456789ab --bootstrap 127.0.0.1:9092
    """
    _point(_Move(pipeline, version, "archived"), bootstrap, as_json=as_json)


@models.command("show")
def show(
    pipeline: PipelineName,
    version: VersionId,
    *,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Show one version: hash, stage, price and skill card.

    Example: batuta models show fraud forest@0123456789ab --bootstrap 127.0.0.1:9092
    """
    standing = asyncio.run(_registry(bootstrap).standing())
    told = _as_json(standing.find(_name_of(pipeline), version), standing)
    if as_json:
        print_json(told)
        return
    for key, value in told.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, one in parts:
            said = ", ".join(map(str, one)) if isinstance(one, list) else one
            name = f"{key}.{part}" if part else key
            stdout().print(f"{name:18} {said}", markup=False, soft_wrap=True)


models.command("calibrate")(calibrate)


@dataclass(frozen=True)
class _Move:
    pipeline: str
    version: str
    stage: "Stage"
    instead_of: str | None = None


def _point(move: _Move, bootstrap: str | None, *, as_json: bool) -> None:
    version, pointed = asyncio.run(_pointed(_registry(bootstrap), move))
    before = None if pointed.before is None else pointed.before.version_id
    if as_json:
        told = {"version_id": version.version_id, "stage": move.stage, "changed": pointed.changed}
        print_json({**told, "before": before})
    else:
        what = "stands at" if pointed.changed else "stands already at"
        instead = f", in place of {before}" if before and pointed.changed else ""
        stdout().print(f"{version.version_id} {what} {move.stage}{instead}", markup=False)


async def _pointed(registry: "Registry", move: _Move) -> "tuple[ModelVersion, Pointed]":
    name, standing = _name_of(move.pipeline), await registry.standing()
    version = standing.find(name, move.version)
    named = move.instead_of
    stands = standing.at(name, version.model, move.stage)
    seen = stands if named is None else standing.find(name, named)
    expected = None if seen is None else seen.version_id
    return version, await registry.point(version, move.stage, datetime.now(UTC), expected)


def _name_of(pipeline: str) -> str:
    from batuta.streams.pipelines.finding import find_pipeline

    return find_pipeline(pipeline).loaded.pipeline.name


def _registry(bootstrap: str | None) -> "Registry":
    from batuta.streams.cli.connection import connection
    from batuta.streams.registry.registry import Registry
    from batuta.streams.settings import load_settings

    connection(bootstrap)
    return Registry(load_settings(bootstrap=bootstrap))


def _as_json(version: "ModelVersion", standing: "Standing") -> dict[str, object]:
    fields = version.model_dump(mode="json", exclude={"version", "stage"})
    return {**fields, "stages": list(standing.stages(version))}
