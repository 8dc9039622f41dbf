"""How well questions are understood, and how well faults planted in drafts are found.

Drafts are checked by what the pipeline's file puts behind its drafter.

Published figures: Casanueva et al. (2020) for the encoders; TF-IDF with logistic regression is what
words and pieces of words reach without any encoder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from batuta.agents.delegation.plans import Node, answering, checked_within
from batuta.agents.evaluation.report import Evaluation, PublishedFigures
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.support.data import Messages
from batuta.agents.support.planting import FAULTS, Fault, PlantedDraft, plant
from batuta.agents.support.policies import Policy
from batuta.agents.support.ranking import TextIndex
from batuta.agents.understanding.isolation import DIRECT
from batuta.agents.verification.checkpoint import Checkpoint
from batuta.agents.verification.port import CheckBatch
from batuta.schemas.errors import UsageError
from batuta.schemas.ingested import Ingested

__all__ = [
    "DRAFTER",
    "POLICIES_FOUND",
    "Found",
    "judged",
    "measure_drafts",
    "measure_support",
    "reply_checkpoint",
]

#: The models whose values the checks of a reply look at.
DRAFTER: Final = "drafter"
POLICIES_FOUND: Final = "policies"
_PER_FAULT: Final = 200
_CLEAN: Final = 600
_SEED: Final = 77
_NEIGHBOURS: Final = 3
#: The check that a fault is meant for.
_MEANT: Final[dict[Fault, str]] = {
    "missing_step": "steps",
    "wrong_order": "steps",
    "wrong_tone": "tone",
    "invented_policy": "grounding",
    "leaked_data": "privacy",
}
_PUBLISHED: Final = (
    PublishedFigures("TF-IDF of words and characters, logistic regression", {"accuracy": 0.9146}),
    PublishedFigures("USE + ConveRT", {"accuracy": 0.9336}),
    PublishedFigures("BERT, tuned", {"accuracy": 0.9366}),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What checks found in a draft: the reasons by check; empty where it passed."""

    draft: PlantedDraft
    reasons: dict[str, str]


def reply_checkpoint(plans: Iterable[Node]) -> Checkpoint | None:
    """Return what a draft must pass; None where nothing stands behind the drafter."""
    checked = (one for plan in plans for one in checked_within(plan))
    found = (one.checkpoint for one in checked if answering(one.step) == DRAFTER)
    return next((one for one in found if one.checks), None)


def measure_support(
    messages: Messages, labels: Sequence[str], checkpoint: Checkpoint | None
) -> Evaluation:
    """Measure labels against those of the questions, and the checks on planted drafts.

    Args:
        messages: the data set.
        labels: one per question, empty where none was given.
        checkpoint: what a draft must pass; None: nothing, so that nothing is found.

    Raises:
        UsageError: no policy has three steps, so that no draft can be planted.
    """
    right = [told == label for told, label in zip(labels, messages.labels, strict=True)]
    drafts = measure_drafts(messages.policies, checkpoint or Checkpoint("none", ()))
    return Evaluation(
        metrics={"accuracy": float(np.mean(right)), **drafts.metrics},
        published=_PUBLISHED,
        facts={
            "data": "questions curated by people, drafts generated",
            "questions": len(messages),
            "intents": len(set(messages.labels)),
            "without_answer": sum(not label for label in labels),
            **drafts.facts,
        },
    )


def measure_drafts(policies: Sequence[Policy], checkpoint: Checkpoint) -> Evaluation:
    """Plant drafts over policies and measure what the checks of replies make of them.

    Raises:
        UsageError: no policy has three steps.
    """
    if not any(len(one.steps) >= 3 for one in policies):  # noqa: PLR2004
        raise UsageError("no policy has three steps, so that no draft can be planted")
    planted = {fault: plant(policies, fault, _PER_FAULT, _SEED) for fault in FAULTS}
    faulty = [one for fault in FAULTS for one in judged(planted[fault], policies, checkpoint)]
    clean = judged(plant(policies, "", _CLEAN, _SEED), policies, checkpoint)
    metrics = {
        "violations_found": _share(faulty),
        "false_alarms": _share(clean),
        "violations_found_unseen": _share([one for one in faulty if one.draft.unseen]),
        "false_alarms_unseen": _share([one for one in clean if one.draft.unseen]),
    }
    facts: dict[str, int | float | str] = {
        "policies": len(policies),
        "planted_drafts": len(faulty),
        "clean_drafts": len(clean),
    }
    for fault in FAULTS:
        own = [one for one in faulty if one.draft.fault == fault]
        meant = [_MEANT[fault] in one.reasons for one in own]
        facts[f"{fault}_found"] = round(_share(own), 4)
        facts[f"{fault}_found_by_its_check"] = round(float(np.mean(meant)), 4)
    return Evaluation(metrics, (), facts)


def judged(
    drafts: Sequence[PlantedDraft], policies: Sequence[Policy], checkpoint: Checkpoint
) -> list[Found]:
    """Return what the checks find in drafts.

    Each is seen beside its policy, the two nearest to that, and a note about somebody else.
    """
    index = TextIndex([one.whole for one in policies])
    found = [_passages(one, policies, index) for one in drafts]
    codes, _ = checkpoint.run(_batch(drafts, found), DIRECT)
    return [
        Found(
            draft,
            {
                bound.name: checkpoint.reason(place, code)
                for place, (bound, code) in enumerate(zip(checkpoint.checks, column, strict=True))
                if code
            },
        )
        for draft, column in zip(drafts, codes.T.tolist(), strict=True)
    ]


def _passages(
    draft: PlantedDraft, policies: Sequence[Policy], index: TextIndex
) -> list[dict[str, object]]:
    near = [policies[place] for place, _ in index.best(draft.policy.title, _NEIGHBOURS)]
    others = [one for one in near if one != draft.policy][: _NEIGHBOURS - 1]
    return [*(one.as_passage() for one in (draft.policy, *others)), draft.note]


def _batch(drafts: Sequence[PlantedDraft], found: Sequence[object]) -> CheckBatch:
    rows = len(drafts)
    events = [
        Ingested(f"d{row}", "k", "k", 0, 0, "default", {"text": draft.policy.title}, {})
        for row, draft in enumerate(drafts)
    ]
    values = {
        DRAFTER: [{"text": one.text, "policy": one.policy.title} for one in drafts],
        POLICIES_FOUND: found,
    }
    sure = np.ones(rows)
    return CheckBatch(events, sure, sure, np.zeros((rows, 1)), {}, values, EventRows(events, {}))


def _share(found: Sequence[Found]) -> float:
    return float(np.mean([bool(one.reasons) for one in found])) if found else 0.0
