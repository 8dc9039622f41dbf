"""`batuta init NAME`: the folder of a new pipeline, which runs at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batuta.streams.cli.options import Json
from batuta.streams.cli.terminal import print_json, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["init"]


def init(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Of the pipeline, its topics and its folder."),
    ],
    *,
    as_json: Json = False,
) -> None:
    """Begin a pipeline of your own.

    Makes the folder NAME with a pipeline file, a schema, a model, sample events, a test and a page
    that says what to change. It runs as it is. A folder that is there already is left alone.

    Example: batuta init orders
    """
    from batuta.streams.pipelines.finding import SHIPPED
    from batuta.streams.pipelines.starting import start_pipeline

    made = start_pipeline(name, Path(), frozenset(SHIPPED))
    if as_json:
        print_json({"pipeline": name, "folder": name, "files": [str(path) for path in made]})
    else:
        stdout().print(_told(name, made), soft_wrap=True, highlight=False, markup=False)


def _told(name: str, made: "Sequence[Path]") -> str:
    from batuta.streams.settings import console_command

    command = console_command()
    return "\n".join(
        (
            *(f"made {path}" for path in made),
            "",
            "See it at work, then make it yours:",
            f"  {command} demo ./{name}/pipeline.yaml --events 5000",
            f"  {command} plan ./{name}/pipeline.yaml",
        )
    )
