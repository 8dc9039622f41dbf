"""The options that several commands share, each worded once."""

from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = [
    "TRAIN_START",
    "Bootstrap",
    "Data",
    "Json",
    "MetricsPort",
    "PipelineName",
    "Rate",
    "Seed",
    "Spoiled",
    "TrainStart",
]

#: The first training day of the published baseline.
TRAIN_START: Final = 115

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        envvar="BATUTA_BOOTSTRAP",
        metavar="HOST:PORT",
        help="Kafka brokers to use, separated by commas.",
    ),
]
Data = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", help="The folder of the labelled data set."),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on stdout and nothing else."),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Port of /metrics, /livez and /readyz on loopback; 0 takes any free one.",
    ),
]
PipelineName = Annotated[
    str,
    typer.Argument(metavar="PIPELINE", help="A shipped pipeline, or the path of a file."),
]
Rate = Annotated[
    float,
    typer.Option("--rate", metavar="R", min=0, help="Events per second; 0 is as fast as it goes."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", help="The same seed generates the same events; else a new one."
    ),
]
Spoiled = Annotated[
    float,
    typer.Option(
        "--bad", metavar="SHARE", min=0, max=1, help="How many events are spoiled on purpose."
    ),
]
TrainStart = Annotated[
    int,
    typer.Option(
        "--train-start",
        metavar="DAY",
        min=0,
        help="First of 7 training days; 7 days of delay follow, then 7 test days.",
    ),
]
