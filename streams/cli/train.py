"""`batuta train PIPELINE --data DIR`: a model from labelled history."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batuta.streams.cli.options import TRAIN_START, Data, Json, PipelineName, TrainStart
from batuta.streams.cli.terminal import print_json, stdout

if TYPE_CHECKING:
    from batuta.agents.models.card import ModelCard

__all__ = ["train"]

_SEED: Final = 0


def train(
    pipeline: PipelineName,
    *,
    data: Data,
    train_start: TrainStart = TRAIN_START,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, help="The same data and seed: the same file."),
    ] = _SEED,
    as_json: Json = False,
) -> None:
    """Train a model on labelled history, and let the pipeline use it.

    Learns from seven days, with every feature as it was known at its moment: labels come as late
    as they do live. The model is stored as ONNX with its sha256 and a card that says what it was
    made of; nothing else of the data is kept.

    Example: batuta train fraud --data ../data/fraud_handbook --train-start 115 --json
    """
    from batuta.agents.evaluation.weeks import Weeks
    from batuta.streams.cli.histories import history_mapping
    from batuta.streams.cli.progress import meter
    from batuta.streams.data.histories import read_history
    from batuta.streams.model_store import ModelStore
    from batuta.streams.pipelines.finding import find_pipeline
    from batuta.streams.settings import load_settings

    settings = load_settings()
    on_disk = find_pipeline(pipeline)
    mapping = history_mapping(on_disk.loaded.pipeline.name, on_disk.history)
    start_s = time.monotonic()
    history = read_history(mapping, data)
    with meter(f"learning what {pipeline} events look like") as bar:
        trained = mapping.train(history, Weeks(train_start), seed, bar.reach)
    path = ModelStore(settings.model_dir).save(trained)
    seconds = time.monotonic() - start_s
    if as_json:
        print_json(_as_json(trained.card, path, seconds))
    else:
        stdout().print(_summary(trained.card, path, seconds), soft_wrap=True)


def _as_json(card: "ModelCard", path: Path, seconds: float) -> dict[str, object]:
    return {
        "pipeline": card.pipeline,
        "model": card.version,
        "sha256": card.sha256,
        "path": str(path),
        "algorithm": card.algorithm,
        "inputs": list(card.inputs),
        "trained_on": dict(card.trained_on),
        "metrics": dict(card.metrics),
        "seconds": round(seconds, 3),
    }


def _summary(card: "ModelCard", path: Path, seconds: float) -> str:
    learnt = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in card.metrics.items())
    source = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in card.trained_on.items()
    )
    return (
        f"{card.version}: {card.algorithm}\n"
        f"trained on: {source}\n"
        f"measured:   {learnt}\n"
        f"written to: {path} in {seconds:.1f} s"
    )
