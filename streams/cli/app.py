"""The console script's commands, in the order that help lists them.

Command modules import what they run inside their function: `batuta --help` answers in a blink,
and only `demo` and `worker` wait for models.
"""

from typing import Annotated

import typer

from batuta.streams.cli.broker import broker
from batuta.streams.cli.budget import budget
from batuta.streams.cli.deadletters import deadletters
from batuta.streams.cli.demo import demo
from batuta.streams.cli.evaluate import evaluate
from batuta.streams.cli.explain import explain
from batuta.streams.cli.generate import generate
from batuta.streams.cli.init import init
from batuta.streams.cli.models import models
from batuta.streams.cli.plan import PlanCommand, plan
from batuta.streams.cli.produce import produce
from batuta.streams.cli.rehearse import rehearse
from batuta.streams.cli.review import review
from batuta.streams.cli.tail import tail
from batuta.streams.cli.train import train
from batuta.streams.cli.version import print_version, version
from batuta.streams.cli.worker import worker

__all__ = ["app"]

app = typer.Typer(
    name="batuta",
    help="Event-driven streaming orchestrator of AI models on Kafka.",
    epilog="Begin with: batuta demo fraud",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def batuta(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Event-driven streaming orchestrator of AI models on Kafka."""
    del version


for command in (
    demo,
    worker,
    init,
    broker,
    generate,
    produce,
    plan,
    train,
    evaluate,
    rehearse,
    tail,
    explain,
    version,
):
    app.command(cls=PlanCommand if command is plan else None)(command)
app.add_typer(deadletters)
app.add_typer(models)
app.add_typer(review)
app.add_typer(budget)
