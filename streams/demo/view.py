"""What a demonstration shows at one moment, and how it is said as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from batuta.streams.demo.tally import Seen, Tally

__all__ = ["Pace", "Result", "Stage", "View", "result_of", "view_of"]


@dataclass(frozen=True)
class Stage:
    """The scene: what runs, and where.

    Attributes:
        embedded: whether the broker is ours and ends with the demonstration.
        spoiled_share: how many of the events are spoiled on purpose, 0 to 1.
        labelled: whether the pipeline has labels.
    """

    pipeline: str
    bootstrap: str
    embedded: bool
    model: str
    metrics_url: str
    stages: Sequence[str]
    spoiled_share: float
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the run has been going, how many answers a second come now, whether it is over."""

    seconds: float
    per_second: float
    ended: bool = False


@dataclass(frozen=True)
class View:
    """One moment of the run, ready to be drawn; `labels` were joined, None where there are none."""

    stage: Stage
    seconds: float
    published: int
    answered: int
    per_second: float
    p50_ms: int | None
    p99_ms: int | None
    outcomes: Mapping[str, int]
    refusals: Mapping[str, int]
    escalations: int
    notifications: int
    labels: int | None
    stopped: Sequence[Seen]
    latest: Sequence[Seen]
    explain_id: str | None
    ended: bool


def view_of(tally: Tally, stage: Stage, pace: Pace) -> View:
    """Return what there is to see now; ages are those of the latest events."""
    return View(
        stage=stage,
        seconds=pace.seconds,
        published=tally.published,
        answered=tally.answered,
        per_second=pace.per_second,
        p50_ms=tally.recent_age_ms(0.50),
        p99_ms=tally.recent_age_ms(0.99),
        outcomes=dict(tally.outcomes),
        refusals=dict(tally.refusals),
        escalations=tally.escalations,
        notifications=tally.notifications,
        labels=tally.labels.arrived if stage.labelled else None,
        stopped=tuple(tally.stopped),
        latest=tuple(tally.latest),
        explain_id=tally.explain_id,
        ended=pace.ended,
    )


class Result(TypedDict):
    """What the run came to; ages count from when each event was due until it was read."""

    pipeline: str
    events: int
    decisions: int
    outcomes: dict[str, int]
    escalations: int
    people_asked: int
    notifications: int
    labels: int
    labels_joined: int
    deadletters: int
    deadletter_reasons: dict[str, int]
    lost: int
    duplicated: int
    faults: list[str]
    events_per_second: float
    p50_ms: int | None
    p99_ms: int | None
    seconds: float
    stages: list[str]
    model: str
    bootstrap: str
    embedded: bool
    metrics_url: str
    explain_id: str | None


def result_of(tally: Tally, stage: Stage, seconds: float) -> Result:
    """Return the run's result."""
    span_ms = max(1, tally.last_answer_ms - (tally.first_published_ms or tally.last_answer_ms))
    return Result(
        pipeline=stage.pipeline,
        events=tally.published,
        decisions=tally.good.arrived,
        outcomes={name: tally.outcomes[name] for name in ("approve", "review", "block")},
        escalations=tally.escalations,
        people_asked=tally.people_asked,
        notifications=tally.notifications,
        labels=tally.labels.expected,
        labels_joined=tally.labels.arrived,
        deadletters=tally.spoiled.arrived,
        deadletter_reasons=dict(tally.refusals),
        lost=tally.lost,
        duplicated=tally.duplicated,
        faults=tally.faults(),
        events_per_second=round(tally.answered / span_ms * 1_000, 1),
        p50_ms=tally.ages.percentile(0.50),
        p99_ms=tally.ages.percentile(0.99),
        seconds=round(seconds, 3),
        stages=list(stage.stages),
        model=stage.model,
        bootstrap=stage.bootstrap,
        embedded=stage.embedded,
        metrics_url=stage.metrics_url,
        explain_id=tally.explain_id,
    )
