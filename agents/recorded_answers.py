"""What stands in records of what models have answered, and of what checkpoints made of it."""

from collections.abc import Sequence
from itertools import compress, repeat
from typing import Final, cast

import numpy as np
import orjson

from batuta.agents.delegation.heard import ANSWERED, ASKED, FAILED, Heard, Indexes, Told
from batuta.agents.delegation.reached import Flags
from batuta.agents.verification.taint import names_of
from batuta.schemas.decision import CheckResult, Correction, ModelAnswer
from batuta.schemas.rows import rows_of

__all__ = ["UNAWAITED", "answers_about", "corrections_about", "results_about"]

#: Why there is no answer of a model that was asked, and that its plan went on without.
UNAWAITED: Final = "unawaited"
#: So long may be what a model says beside its score, as JSON, for all of it to stand in a record.
VALUE_BYTES_MAX: Final = 2_000


def answers_about(
    heard: Heard, rows: Indexes, done: Flags | None = None
) -> list[tuple[ModelAnswer, ...]]:
    """Return what stands in the records of some events of what models have answered.

    Args:
        heard: of the models.
        rows: the events.
        done: (heard.rows,) whose plans are through: they went on without whoever was asked and is
            not heard yet; None: none is.
    """
    # In one order, whatever else was asked in the batch, and whoever answered first.
    names = [name for name in heard.versions if name in heard.told]
    told = [_answers(name, heard, rows, done) for name in names]
    if len(told) == 1 and None not in told[0]:
        return [(cast("ModelAnswer", answer),) for answer in told[0]]
    return [
        tuple(answer for answer in answers if answer is not None)
        for answers in (zip(*told, strict=True) if told else ((),) * len(rows))
    ]


def results_about(heard: Heard, rows: Indexes) -> list[tuple[CheckResult, ...]]:
    """Return what stands in the records of some events of what checkpoints have found."""
    if not heard.trials:
        return [()] * len(rows)
    parts = [trials.results_of(rows) for trials in heard.trials.values()]
    if len(parts) == 1:
        return parts[0]
    return [tuple(one for part in found for one in part) for found in zip(*parts, strict=True)]


def corrections_about(heard: Heard, rows: Indexes) -> list[tuple[Correction, ...]]:
    """Return what stands in the records of some events of what was tried to correct answers."""
    return [heard.corrections_of(row) for row in rows.tolist()]


def _answers(
    name: str, heard: Heard, rows: Indexes, done: Flags | None
) -> list[ModelAnswer | None]:
    """Return one model's answers, None where it was not asked or has not answered yet."""
    told = heard.told[name]
    version, currency = told.version, told.currency
    found: list[ModelAnswer | None] = [
        *rows_of(
            ModelAnswer,
            len(rows),
            name=repeat(name),
            model=repeat(version),
            score=told.scores[rows].tolist(),
            confidence=told.confidence[rows].tolist(),
            duration_ms=told.duration_ms[rows].tolist(),
            cost_nano=told.cost_nano[rows].tolist(),
            currency=repeat(currency),
        )
    ]
    state = told.state[rows]
    for place in np.flatnonzero(state != ANSWERED).tolist():
        row = int(rows[place])
        gone_on = done is not None and bool(done[row])
        found[place] = _unanswered(name, told, row, gone_on=gone_on)
    _add_further(found, told, rows.tolist())
    # What a planner proposed stands in the selection.
    if told.values and name not in heard.planners:
        values = [told.values.get(row) for row in rows.tolist()]
        for place in (place for place, value in enumerate(values) if value is not None):
            answer = found[place]
            found[place] = answer and answer._replace(value=_recorded(values[place]))
    return found


def _add_further(found: list[ModelAnswer | None], told: Told, rows: Sequence[int]) -> None:
    """Add what only some answers have: another version, taint, evidence."""
    if told.former:
        for place, row in enumerate(rows):
            if (answer := found[place]) is not None and row in told.former:
                found[place] = answer._replace(model=told.former[row])
    if told.taint[rows].any():
        for place, taint in enumerate(told.taint[rows].tolist()):
            answer = found[place]
            found[place] = answer and answer._replace(taint=names_of(taint))
    if told.evidence:
        texts = [told.evidence.get(row, "") for row in rows]
        for place in compress(range(len(found)), texts):
            answer = found[place]
            found[place] = answer and answer._replace(evidence=texts[place])


def _recorded(value: object) -> object:
    """Return what a record holds of what a model said: of what is long, the beginning."""
    text = orjson.dumps(value)
    if len(text) <= VALUE_BYTES_MAX:
        return value
    return text[:VALUE_BYTES_MAX].decode(errors="ignore") + "…"


def _unanswered(name: str, told: Told, row: int, *, gone_on: bool) -> ModelAnswer | None:
    """Return what stands of a model without answer; None where nothing is to be said yet."""
    if told.state[row] == FAILED:
        kind, took = told.failures.get(row, "broke"), int(told.duration_ms[row])
        cost_nano = int(told.cost_nano[row])
        paid_in = told.currency if cost_nano else ""
        return ModelAnswer(name, told.version, None, None, kind, took, cost_nano, paid_in)
    if told.state[row] == ASKED and gone_on:
        return ModelAnswer(name, told.version, None, None, UNAWAITED)
    return None
