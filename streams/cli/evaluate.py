"""`batuta evaluate PIPELINE --data DIR`: a labelled data set through the real topics and agents."""

import asyncio
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batuta.streams.cli.exits import Exit, leave
from batuta.streams.cli.options import (
    TRAIN_START,
    Bootstrap,
    Data,
    Json,
    PipelineName,
    TrainStart,
)
from batuta.streams.cli.signals import sigterm_interrupts
from batuta.streams.cli.terminal import print_json, say, stdout, step

if TYPE_CHECKING:
    from collections.abc import Generator

    from batuta.agents.history import HistoryMapping
    from batuta.streams.cli.evaluate_result import Walked
    from batuta.streams.evaluation.session import Walk
    from batuta.streams.pipelines.loading import PipelineOnDisk
    from batuta.streams.settings import Settings

__all__ = ["evaluate"]


def evaluate(
    pipeline: PipelineName,
    *,
    data: Data,
    train_start: TrainStart = TRAIN_START,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Of the model that is trained.")
    ] = 0,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, help="Processes that share the work.")
    ] = 1,
    bootstrap: Bootstrap = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page", metavar="FILE", help="Where the curves go; else evaluation-<pipeline>.html."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a pipeline on labelled history, beside published figures.

    Trains on the chosen week where the pipeline asks a trained model, sends the whole history
    through the pipeline's own topics and stages, every label as late as it is in life, and measures
    what was decided on the test days. Nobody is notified. Starts the embedded broker where no Kafka
    is named; one that is must have none of the pipeline's topics: they are made and deleted.

    Example: batuta evaluate fraud --data ../data/fraud_handbook --json
    """
    from batuta.streams.settings import load_settings

    sigterm_interrupts()
    settings = load_settings(bootstrap=bootstrap, log_level="error")
    plan = _Plan(pipeline, data, train_start, seed, workers, page)
    try:
        result = _evaluated(plan, settings, as_json=as_json)
    except KeyboardInterrupt:
        leave(Exit.YES)
    if as_json:
        print_json(result)
    if result["lost"] or result["doubled"]:
        say(f"lost {result['lost']}, decided twice {result['doubled']}", style="red")
        leave(Exit.NEGATIVE)


@dataclass(frozen=True)
class _Plan:
    pipeline: str
    data: Path
    train_start: int
    seed: int
    workers: int
    page: Path | None


def _evaluated(plan: _Plan, settings: "Settings", *, as_json: bool) -> dict[str, object]:
    from batuta.agents.evaluation.weeks import Weeks
    from batuta.streams.cli.evaluate_result import (
        differences_of,
        evaluation_as_json,
        save_page,
    )
    from batuta.streams.cli.evaluate_screen import figures
    from batuta.streams.cli.histories import history_mapping
    from batuta.streams.data.histories import read_history, read_oracle
    from batuta.streams.pipelines.finding import find_pipeline

    on_disk = find_pipeline(plan.pipeline)
    name, weeks = on_disk.loaded.pipeline.name, Weeks(plan.train_start)
    mapping = history_mapping(name, on_disk.history)
    history = read_history(mapping, plan.data)
    oracle = read_oracle(mapping, plan.data, history)
    with tempfile.TemporaryDirectory(prefix="batuta-evaluate-") as folder, _broker(settings) as at:
        reached = at.model_copy(update={"model_dir": Path(folder)})
        _train(plan, on_disk, (mapping, history), reached)
        walk = _walked(plan, on_disk, history, reached)
    walked = _as_walked(walk)
    evaluation = mapping.measure(history, weeks, walked.scores)
    page = plan.page or Path(f"evaluation-{name}.html")
    save_page(page, name, walked, evaluation)
    differences = differences_of(walked, oracle) if oracle is not None else None
    result = evaluation_as_json(name, walked, evaluation, differences)
    if not as_json:
        stdout().print(figures(evaluation))
        rate = f"{walked.events:,} events in {walked.seconds:.1f} s, curves in {page}"
        differ = f", {differences} rows with other features" if differences is not None else ""
        stdout().print(f"{rate}{differ}")
    ends = {"workers": plan.workers, "lost": walk.lost, "doubled": walk.answers.doubled}
    return {**result, **ends, "page": str(page)}


@contextmanager
def _broker(settings: "Settings") -> "Generator[Settings]":
    """Yield the settings with a broker in them: the one given, else a child process."""
    if settings.bootstrap is not None:
        from batuta.streams.cli.connection import connection

        connection(settings.bootstrap)
        yield settings
        return
    from batuta.streams.broker.process import BrokerProcess

    with step("broker") as said:
        child = BrokerProcess()
        said(f"{child.bootstrap}, embedded, in memory")
    with child:
        yield settings.model_copy(update={"bootstrap": child.bootstrap})


def _train(
    plan: _Plan,
    on_disk: "PipelineOnDisk",
    given: "tuple[HistoryMapping[Any], Any]",
    settings: "Settings",
) -> None:
    """Train the model that is asked, where it is one that is trained."""
    from batuta.agents.evaluation.weeks import Weeks
    from batuta.streams.cli.progress import meter
    from batuta.streams.model_store import ModelStore

    if on_disk.entry.adapter != "onnx" or on_disk.entry.file is not None:
        return
    mapping, history = given
    with meter("training") as bar:
        trained = mapping.train(history, Weeks(plan.train_start), plan.seed, bar.reach)
    ModelStore(settings.model_dir).save(trained)


def _walked(plan: _Plan, on_disk: "PipelineOnDisk", history: Any, settings: "Settings") -> "Walk":
    from batuta.streams.cli.progress import meter
    from batuta.streams.evaluation.session import WalkPlan, walk

    with meter("deciding", len(history)) as bar:
        walking = WalkPlan(
            plan.pipeline,
            on_disk.loaded.pipeline,
            history,
            settings,
            plan.workers,
            lambda decided, _: bar.reach(decided),
        )
        return asyncio.run(walk(walking))


def _as_walked(walk: "Walk") -> "Walked":
    from batuta.streams.cli.evaluate_result import Walked

    answers, events = walk.answers, max(walk.answers.decided, 1)
    cost = {stage: round(s / events * 1e6, 2) for stage, s in sorted(walk.cpu_s.items())}
    return Walked(answers.model, answers.scores, answers.features, walk.seconds, cost)
