"""The decision record: one canonical JSON object per event, enough to explain it later.

Version 2. Times are RFC 3339 in UTC. Readers ignore fields they do not know; version 1, which had
nothing behind `input_sha256`, is read as well.

    {"version": 2, "event_id": "tx-000003527", "pipeline": "fraud", "pipeline_version": 1,
     "tenant": "default", "entity": "c3774", "event_time": "2018-04-01T10:17:43.000Z",
     "decided_at": "2018-04-01T10:17:43.052Z", "outcome": "review", "score": 0.71,
     "reasons": ["score_high", "large_amount"], "model": "forest@5f1d0c9a7b3e",
     "features": {"amount": 225.41}, "input_sha256": "...",
     "selection": {"plan": "deep", "by": "weights", "reason": "no rule narrows", "propensity": 0.1,
                   "candidates": {"fast": 0.9, "deep": 0.1}},
     "answers": [{"name": "forest", "model": "forest@5f1d0c9a7b3e", "score": 0.71,
                  "confidence": 0.71, "duration_ms": 2, "cost_nano": 10000, "currency": "EUR"},
                 {"name": "sequence", "model": "sequence@0", "failure": "timeout"}],
     "fallback": true, "control_offset": 12,
     "checks": [{"at": "models", "check": "contradiction", "reason": "models_contradict"},
                {"at": "models", "check": "range"}],
     "corrections": [{"at": "models", "attempt": 1, "remedy": "retry",
                      "failed": ["models_contradict"], "critique": "models_contradict: ...",
                      "odds": 0.5, "result": "failed", "reason": "models_contradict",
                      "model": "forest@5f1d0c9a7b3e", "score": 0.7, "duration_ms": 2,
                      "cost_nano": 10000, "currency": "EUR"}],
     "taint": ["outside_text"]}

`control_offset` stands in records of pipelines whose models follow `batuta.control`.
`checks`, `corrections` and `taint` stand there only where something was checked, was to be
corrected, or is tainted.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

__all__ = [
    "DECISION_VERSION",
    "CheckResult",
    "Corrected",
    "Correction",
    "Decision",
    "ModelAnswer",
    "Outcome",
    "Selection",
]

DECISION_VERSION: Final = 2

Outcome = Literal["approve", "review", "block"]
#: What a remedy came to: its answer passed, or did not; it was not tried.
Corrected = Literal["passed", "failed", "skipped"]


class Selection(NamedTuple):
    """Which plan an event followed, and why that one.

    Attributes:
        plan: its name.
        by: who chose: `only`, `weights`, `rules`, `planner`; `breaker`, where the plan that was
            chosen cannot answer now.
        reason: in a few words.
        propensity: how likely this choice was, 0 to 1.
        candidates: every plan that might have been chosen, and how likely it was.
        proposal: the planner's plan that was followed, as JSON; a list of two where it planned
            once more; empty where none was followed.
        planning: what became of the planner's proposal: `followed`, `replanned`; else why the plan
            of the file stands for it; empty where nobody was asked to plan.
        planning_cost_nano: what the planner's answers cost, billionths of `planning_currency`; a
            part of what the record's answers cost.
    """

    plan: str
    by: str
    reason: str
    propensity: float
    candidates: Mapping[str, float]
    proposal: str = ""
    planning: str = ""
    planning_cost_nano: int = 0
    planning_currency: str = ""


class ModelAnswer(NamedTuple):
    """What one model said about the event.

    Attributes:
        name: as the pipeline names the model.
        model: its version.
        score, confidence: 0 to 1; None where there is no answer.
        failure: why there is none; empty where there is one.
        duration_ms: how long its call took.
        cost_nano: the event's share of what it cost, billionths of `currency`.
        evidence: what the answer rests on.
        taint: what may be wrong with it.
        value: what it says beside the score, any JSON: what `NAME.value` is for models that read
            it. Of one longer than 2,000 bytes of JSON the beginning stands there, as a text.
    """

    name: str
    model: str
    score: float | None
    confidence: float | None = None
    failure: str = ""
    duration_ms: int = 0
    cost_nano: int = 0
    currency: str = ""
    evidence: str = ""
    taint: tuple[str, ...] = ()
    value: object = None


class CheckResult(NamedTuple):
    """What one check has found.

    Attributes:
        at: the checkpoint: `models`, or a step of a plan.
        check: its name there.
        reason: why the answer failed; empty where it passed.
    """

    at: str
    check: str
    reason: str = ""


class Correction(NamedTuple):
    """One attempt to correct an answer that a checkpoint did not let pass.

    Attributes:
        at: the checkpoint.
        attempt: from 1, in the order in which remedies were taken up there.
        remedy: as the pipeline names it: `retry`, `repair:NAME`, `model:NAME`, `human:NAME`.
        failed: why the answer before did not pass, by reason; the first is its failure class.
        result: what became of it.
        reason: why it failed again, or why it was skipped; empty where it passed.
        model: the version that answered; empty where nobody did.
        critique: what a model was told of the failure, of bounded length.
        score: of the new answer, 0 to 1; None where there is none.
        duration_ms, cost_nano, currency: what it took; the cost is part of what `answers` say.
        odds: how likely it was to help against that failure, by what was known then.
    """

    at: str
    attempt: int
    remedy: str
    failed: tuple[str, ...]
    result: Corrected
    reason: str = ""
    model: str = ""
    critique: str = ""
    score: float | None = None
    duration_ms: int = 0
    cost_nano: int = 0
    currency: str = ""
    odds: float = 0.5


class Decision(NamedTuple):
    """What was decided about one event, and why.

    Attributes:
        event_id: the event decided about; a decision is unique by it.
        outcome: approve, review or block.
        score: the plan's answer, 0 to 1.
        reasons: stable snake_case codes, the strongest first, never empty.
        model: name and version of the model that answered, `name@sha256[:12]`; several are joined
            by `+`.
        features: what the models saw; NaN travels as null.
        input_sha256: hex digest of the event's payload.
        published_ms: timestamp of the source record; not written, the start of the event's age.
        action, action_version, action_content: what the deciding rule asks for, empty where
            nothing, and what goes along; not written, an action is a record of its own.
        selection: which plan, and why; None in a record of version 1.
        answers: of every model that was asked, in the order of their names in the plan.
        fallback: whether another answer than the intended one stands for it.
        control_offset: behind the last control record under which models were asked; None where
            none of them follows control.
        checks: what every checkpoint has found, in the order of the plan.
        taint: what may be wrong with the answer: such a decision acts only through a person.
        corrections: what was tried where a checkpoint did not let an answer pass, in order.
    """

    event_id: str
    pipeline: str
    pipeline_version: int
    tenant: str
    entity: str
    event_time_ms: int
    decided_at_ms: int
    outcome: Outcome
    score: float
    reasons: tuple[str, ...]
    model: str
    features: Mapping[str, float]
    input_sha256: str
    published_ms: int = 0
    action: str = ""
    action_version: int = 0
    selection: Selection | None = None
    answers: tuple[ModelAnswer, ...] = ()
    fallback: bool = False
    control_offset: int | None = None
    checks: tuple[CheckResult, ...] = ()
    taint: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    action_content: object = None
