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
    from collections.abc import Generator, Sequence

    from batuta.agents.evaluation.report import Evaluation
    from batuta.agents.history import HistoryMapping, LabelMapping
    from batuta.agents.models.card import TrainedModel
    from batuta.streams.cli.evaluate_result import Walked
    from batuta.streams.evaluation.crew import Crew
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
        int, typer.Option("--seed", metavar="N", min=0, help="Of the model that decides.")
    ] = 0,
    models: Annotated[
        int,
        typer.Option(
            "--models",
            metavar="N",
            min=1,
            help="Trained with this seed and those after it; figures are their mean.",
        ),
    ] = 5,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, help="Processes that share the work.")
    ] = 1,
    bootstrap: Bootstrap = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="Where the curves go; else evaluation-<pipeline>.html in the current folder.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a pipeline on labelled history, beside published figures.

    Trains on the chosen week where the pipeline asks a trained model, sends the whole history
    through the pipeline's own topics and stages, every label as late as it is in life, and measures
    what was decided on the test days. One model's figures are partly chance, so several are
    trained: the first decides, the others score what its decisions say that it saw, and means are
    told. Nobody is notified. Starts the embedded broker where no Kafka is named; one that is must
    have none of the pipeline's topics: they are made and deleted.

    Example: batuta evaluate fraud --data ../data/fraud_handbook --json
    """
    from batuta.streams.settings import load_settings

    sigterm_interrupts()
    settings = load_settings(bootstrap=bootstrap, log_level="error")
    plan = _Plan(pipeline, data, train_start, range(seed, seed + models), workers, page)
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
    seeds: range
    workers: int
    page: Path | None


def _evaluated(plan: _Plan, settings: "Settings", *, as_json: bool) -> dict[str, object]:
    from batuta.agents.history import measures_labels
    from batuta.streams.cli.evaluate_result import (
        check_page,
        differences_of,
        evaluation_as_json,
        save_page,
    )
    from batuta.streams.cli.histories import history_mapping
    from batuta.streams.cli.stand_in import stand_in
    from batuta.streams.data.histories import read_history, read_oracle
    from batuta.streams.pipelines.finding import find_pipeline

    on_disk = find_pipeline(plan.pipeline)
    name = on_disk.loaded.pipeline.name
    page = plan.page or Path(f"evaluation-{name}.html")
    check_page(page)
    mapping = history_mapping(name, on_disk.history)
    history = read_history(mapping, plan.data)
    oracle = read_oracle(mapping, plan.data, history)
    with (
        tempfile.TemporaryDirectory(prefix="batuta-evaluate-") as folder,
        stand_in(plan.pipeline, on_disk),
        _broker(settings) as at,
    ):
        reached = at.model_copy(update={"model_dir": Path(folder)})
        trained = _trained(plan, on_disk, (mapping, history), reached)
        walk = _walked(plan, on_disk, history, reached)
    walked = _as_walked(walk)
    evaluation, each = (
        _labelled((mapping, history), walk, trained, on_disk)
        if measures_labels(mapping)
        else _measured(plan, (mapping, history), walked, trained)
    )
    save_page(page, name, walked, evaluation)
    differences = differences_of(walked, oracle) if oracle is not None else None
    if not as_json:
        _show(walked, evaluation, differences, page)
    result = evaluation_as_json(name, walked, evaluation, differences)
    ends = {"workers": plan.workers, "lost": walk.lost, "doubled": walk.answers.doubled}
    return {**result, "models": each, **ends, "page": str(page)}


def _show(walked: "Walked", evaluation: "Evaluation", differences: int | None, page: Path) -> None:
    from batuta.streams.cli.evaluate_screen import figures

    stdout().print(figures(evaluation))
    rate = f"{walked.events:,} events in {walked.seconds:.1f} s, curves in {page}"
    differ = f", {differences} rows with other features" if differences is not None else ""
    stdout().print(f"{rate}{differ}", soft_wrap=True)


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


def _trained(
    plan: _Plan,
    on_disk: "PipelineOnDisk",
    given: "tuple[HistoryMapping[Any], Any]",
    settings: "Settings",
) -> "list[TrainedModel]":
    """Train the model that is asked, once per seed, where it is one that is trained."""
    from batuta.agents.evaluation.weeks import Weeks
    from batuta.agents.history import measures_labels
    from batuta.streams.cli.progress import meter
    from batuta.streams.model_store import ModelStore

    if on_disk.entry.adapter not in {"onnx", "text"} or on_disk.entry.file is not None:
        return []
    (mapping, history), weeks = given, Weeks(plan.train_start)
    trained: list[TrainedModel] = []
    if measures_labels(mapping):
        # The rows to train on are given, and the seed changes next to nothing.
        seeds = plan.seeds[:1]
    else:
        seeds = plan.seeds
        weeks.check_within(history.days)
    for seed in seeds:
        with meter(f"training, seed {seed}") as bar:
            trained.append(mapping.train(history, weeks, seed, bar.reach))
        say(f"  {trained[-1].version} trained, seed {seed}", style="dim")
    ModelStore(settings.model_dir).save(trained[0])
    return trained


def _measured(
    plan: _Plan,
    given: "tuple[HistoryMapping[Any], Any]",
    walked: "Walked",
    trained: "Sequence[TrainedModel]",
) -> "tuple[Evaluation, list[dict[str, object]]]":
    """Return the mean of what the models reach, and what each does."""
    import numpy as np

    from batuta.agents.evaluation.report import mean_of
    from batuta.agents.evaluation.weeks import Weeks
    from batuta.streams.evaluation.siblings import scores_of

    (mapping, history), weeks = given, Weeks(plan.train_start)
    tested = np.flatnonzero((history.days >= weeks.test_start) & (history.days < weeks.test_end))
    measured = [mapping.measure(history, weeks, walked.scores)]
    if not trained:
        return measured[0], [{"model": walked.model, "metrics": dict(measured[0].metrics)}]
    others = [scores_of(one, walked.features, tested) for one in trained[1:]]
    measured += [mapping.measure(history, weeks, scores) for scores in others]
    each: list[dict[str, object]] = [
        {"seed": seed, "model": one.version, "metrics": dict(found.metrics)}
        for seed, one, found in zip(plan.seeds, trained, measured, strict=True)
    ]
    seeds = (
        f"seeds {plan.seeds[0]}-{plan.seeds[-1]}" if len(trained) > 1 else f"seed {plan.seeds[0]}"
    )
    return mean_of(measured, f"batuta, {seeds}"), each


def _labelled(
    given: "tuple[LabelMapping[Any], Any]",
    walk: "Walk",
    trained: "Sequence[TrainedModel]",
    on_disk: "PipelineOnDisk",
) -> "tuple[Evaluation, list[dict[str, object]]]":
    """Return how well the labels are found that decisions tell."""
    mapping, history = given
    labels = [walk.answers.evidence.get(row, "") for row in range(len(history))]
    plans = [*on_disk.loaded.plan.delegating.plans.values()]
    measured = mapping.measure_labels(history, labels, plans)
    versions = [one.version for one in trained] or [walk.answers.model]
    return measured, [{"model": name, "metrics": dict(measured.metrics)} for name in versions]


def _walked(plan: _Plan, on_disk: "PipelineOnDisk", history: Any, settings: "Settings") -> "Walk":
    from batuta.streams.cli.progress import Lines, meter
    from batuta.streams.evaluation.session import WalkPlan, walk

    lines = Lines("decided", len(history))

    with meter("deciding", len(history)) as bar:

        def watch(decided: int, crew: "Crew") -> None:
            del crew
            bar.reach(decided)
            lines.reach(decided)

        walking = WalkPlan(
            plan.pipeline,
            on_disk.loaded.pipeline,
            history,
            settings,
            plan.workers,
            watch,
        )
        return asyncio.run(walk(walking))


def _as_walked(walk: "Walk") -> "Walked":
    from batuta.streams.cli.evaluate_result import Walked

    answers, events = walk.answers, max(walk.answers.decided, 1)
    cost = {stage: round(s / events * 1e6, 2) for stage, s in sorted(walk.cpu_s.items())}
    return Walked(answers.model, answers.scores, answers.features, walk.seconds, cost)
