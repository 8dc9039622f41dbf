"""Decision records between bytes and values, written in columns: there is one per event.

JSON that anyone can read, with CloudEvents 1.0 binary mode headers around it.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from batuta.schemas.decision import (
    DECISION_VERSION,
    CheckResult,
    Correction,
    Decision,
    ModelAnswer,
    Selection,
)
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.json_rows import json_rows
from batuta.schemas.message_headers import headers_of
from batuta.schemas.message_reading import Messages, numbers_of, read_all, read_message
from batuta.schemas.record import Headers, Output, OutputColumns, Record
from batuta.schemas.times import rfc3339_all, time_ms
from batuta.schemas.wire import CorrectionWire, DecisionWire, ModelAnswerWire, SelectionWire

__all__ = [
    "answer_body",
    "answer_of",
    "correction_body",
    "correction_of",
    "decision_body",
    "decision_of",
    "decode_decision",
    "decode_decisions",
    "encode_decision",
    "encode_decisions",
]

#: What every attempt says, and what goes without saying of one.
_NEEDED: Final = frozenset({"at", "attempt", "remedy", "failed", "result"})
_UNTRIED: Final = Correction("", 1, "", (), "skipped")._asdict()


def encode_decision(decision: Decision, topic: str) -> Output:
    """Write a decision record, keyed by its entity."""
    return next(encode_decisions((decision,), topic).outputs())


def encode_decisions(decisions: Sequence[Decision], topic: str) -> OutputColumns:
    """Write decision records, each keyed by its entity."""
    columns = DecisionColumns.of(decisions)
    return OutputColumns(
        topic,
        keys=[entity.encode() for entity in columns.entity],
        values=json_rows(_bodies(columns)),
        headers=_headers(columns),
    )


def decision_body(decision: Decision) -> dict[str, object]:
    """Return what is written of one decision."""
    return next(_bodies(DecisionColumns.of((decision,))))


def decode_decision(record: Record) -> Decision:
    """Read one decision record.

    Raises:
        RefusedEventError: it is not a decision of a version known here.
    """
    return decision_of(read_message(DecisionWire, record))


def decode_decisions(records: Sequence[Record], _now_ms: int = 0) -> Messages[Decision]:
    """Read a batch of decision records; what is none is refused."""
    return read_all(decode_decision, records)


def _headers(columns: DecisionColumns) -> list[Headers]:
    about: dict[tuple[str, str], Headers] = {
        one: headers_of("batuta.decision.v2", *one)
        for one in {*zip(columns.pipeline, columns.tenant, strict=True)}
    }
    named = zip(columns.pipeline, columns.tenant, strict=True)
    return [
        (*about[one], ("ce_id", event_id.encode()))
        for one, event_id in zip(named, columns.event_id, strict=True)
    ]


def _bodies(columns: DecisionColumns) -> Iterator[dict[str, object]]:
    """Yield what is written of each decision; what many share is written once."""
    assert all(columns.reasons), "a decision without a reason"
    assert all(0.0 <= score <= 1.0 for score in columns.score), columns.score
    bodies = _always(columns)
    return _furthered(bodies, columns) if _says_more(columns) else bodies


def _always(columns: DecisionColumns) -> Iterator[dict[str, object]]:
    """Yield what every record says."""
    rows = zip(
        columns.event_id,
        columns.pipeline,
        columns.pipeline_version,
        columns.tenant,
        columns.entity,
        rfc3339_all(columns.event_time_ms),
        rfc3339_all(columns.decided_at_ms),
        columns.outcome,
        columns.score,
        columns.reasons,
        columns.model,
        columns.features,
        columns.input_sha256,
        _selections(columns.selection),
        columns.answers,
        columns.fallback,
        strict=True,
    )
    # Written out, a mapping costs a quarter of what it does made of names and values.
    for event_id, pipeline, version, tenant, entity, at, decided_at, outcome, score, *more in rows:
        reasons, model, features, input_sha256, selection, answers, fallback = more
        yield {
            "version": DECISION_VERSION,
            "event_id": event_id,
            "pipeline": pipeline,
            "pipeline_version": version,
            "tenant": tenant,
            "entity": entity,
            "event_time": at,
            "decided_at": decided_at,
            "outcome": outcome,
            "score": score,
            "reasons": reasons,
            "model": model,
            "features": features,
            "input_sha256": input_sha256,
            "selection": selection,
            "answers": [answer_body(one) for one in answers],
            "fallback": fallback,
        }


def _says_more(columns: DecisionColumns) -> bool:
    controlled = any(offset is not None for offset in columns.control_offset)
    return controlled or any(map(any, (columns.checks, columns.corrections, columns.taint)))


def _furthered(
    bodies: Iterator[dict[str, object]], columns: DecisionColumns
) -> Iterator[dict[str, object]]:
    """Add to each body what only some records say."""
    further = zip(
        columns.control_offset, columns.checks, columns.corrections, columns.taint, strict=True
    )
    for body, (control_offset, checks, corrections, taint) in zip(bodies, further, strict=True):
        if control_offset is not None:
            body["control_offset"] = control_offset
        if checks:
            body["checks"] = [_check_body(one) for one in checks]
        if corrections:
            body["corrections"] = [correction_body(one) for one in corrections]
        if taint:
            body["taint"] = taint
        yield body


def _selections(selections: Sequence[Selection | None]) -> list[orjson.Fragment | None]:
    """Return each as it is written, each that many share written once."""
    # By identity: the columns hold on to each meanwhile.
    known: dict[int, orjson.Fragment | None] = {id(one): None for one in selections}
    for one in selections:
        if one is not None and known[id(one)] is None:
            known[id(one)] = orjson.Fragment(orjson.dumps(_selection_body(one)))
    return [known[id(one)] for one in selections]


def _check_body(result: CheckResult) -> dict[str, str]:
    """Return what there is: a check that passed has no reason."""
    at, check, reason = result
    body = {"at": at, "check": check}
    if reason:
        body["reason"] = reason
    return body


def correction_body(correction: Correction) -> dict[str, object]:
    """Return what there is of an attempt: one that was skipped has no score and no cost."""
    told = correction._asdict().items()
    return {key: value for key, value in told if key in _NEEDED or value != _UNTRIED[key]}


def _selection_body(selection: Selection) -> dict[str, object]:
    body: dict[str, object] = {
        "plan": selection.plan,
        "by": selection.by,
        "reason": selection.reason,
        "propensity": selection.propensity,
        "candidates": selection.candidates,
    }
    if selection.proposal:
        body["proposal"] = selection.proposal
    if selection.planning:
        body["planning"] = selection.planning
    if selection.planning_cost_nano:
        body["planning_cost_nano"] = selection.planning_cost_nano
    if selection.planning_currency:
        body["planning_currency"] = selection.planning_currency
    return body


def answer_body(answer: ModelAnswer) -> dict[str, object]:
    """Return what there is: an answer has no failure, and most have no evidence."""
    name, model, score, confidence, failure, duration_ms, cost_nano, currency, *further = answer
    evidence, taint, value = further
    body: dict[str, object] = {"name": name, "model": model}
    if failure:
        body["failure"] = failure
    else:
        body["score"] = score
        body["confidence"] = confidence
    body["duration_ms"] = duration_ms
    if cost_nano:
        body["cost_nano"] = cost_nano
        body["currency"] = currency
    if evidence:
        body["evidence"] = evidence
    if taint:
        body["taint"] = taint
    if value is not None:
        body["value"] = value
    return body


def decision_of(wire: DecisionWire) -> Decision:
    """Return a decision as it was read."""
    return Decision(
        wire.event_id,
        wire.pipeline,
        wire.pipeline_version,
        wire.tenant,
        wire.entity,
        time_ms(wire.event_time),
        time_ms(wire.decided_at),
        wire.outcome,
        wire.score,
        wire.reasons,
        wire.model,
        numbers_of(wire.features),
        wire.input_sha256,
        selection=None if wire.selection is None else _selection(wire.selection),
        answers=tuple(answer_of(answer) for answer in wire.answers),
        fallback=wire.fallback,
        control_offset=wire.control_offset,
        checks=tuple(CheckResult(one.at, one.check, one.reason) for one in wire.checks),
        taint=wire.taint,
        corrections=tuple(correction_of(one) for one in wire.corrections),
    )


def correction_of(wire: CorrectionWire) -> Correction:
    """Return an attempt as it was read."""
    return Correction(
        wire.at,
        wire.attempt,
        wire.remedy,
        wire.failed,
        wire.result,
        wire.reason,
        wire.model,
        wire.critique,
        wire.score,
        wire.duration_ms,
        wire.cost_nano,
        wire.currency,
        wire.odds,
    )


def _selection(wire: SelectionWire) -> Selection:
    return Selection(
        wire.plan,
        wire.by,
        wire.reason,
        wire.propensity,
        wire.candidates,
        wire.proposal,
        wire.planning,
        wire.planning_cost_nano,
        wire.planning_currency,
    )


def answer_of(wire: ModelAnswerWire) -> ModelAnswer:
    """Return a model's answer as it was read."""
    return ModelAnswer(
        wire.name,
        wire.model,
        wire.score,
        wire.confidence,
        wire.failure,
        wire.duration_ms,
        wire.cost_nano,
        wire.currency,
        wire.evidence,
        wire.taint,
        wire.value,
    )
