"""Questions: events with what is understood of them, on their way to models and back.

A question that outlives its batch is kept as parked steps, one per event; `payload` and
`question_of` take an event, its features, its plan and what was answered so far to bytes and back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import orjson

from batuta.agents.budgets.spending import Payment
from batuta.agents.delegation.work import Driver, Work
from batuta.agents.identity import scoped
from batuta.agents.state.parking import Step
from batuta.agents.understanding.features import Features
from batuta.agents.verification.remedies import Odds
from batuta.schemas import codec
from batuta.schemas.decision import Selection
from batuta.schemas.errors import StateCorruptError
from batuta.schemas.ingested import Ingested
from batuta.schemas.record import Record
from batuta.schemas.review import StepAnswer

__all__ = ["Answer", "Question", "payload", "question_of", "waiting_key"]

#: The work as far as it has come; None where asking failed as a whole.
Answer = Work | None
#: What was answered about one event, by model, as `Heard.row` tells it.
Answered = Mapping[str, Mapping[str, object]]


@dataclass(slots=True)
class Question:
    """Events, and what models are to know of them.

    Attributes:
        events: in order.
        features: (len(events), columns).
        step_ids: what each is called while it is parked.
        asked: (len(events),) which of them models are asked about; the others have to wait for
            an event of their key that is parked.
        expired: how many labels came with them for which it was too late.
        choices: the plan of each event; None where it is still to be chosen.
        answered: what was answered before, of each event; empty where nothing was.
        tried: what checkpoints found before, of each event; empty where nothing.
        patience_ms: (len(events),) how long each may still take; None: for ever.
        understood_ms: (len(events),) when the features of each were computed; None: now.
        work: the asking, once it has begun.
        driver: who asks, from then on.
        payment: how asking is paid for; None where nothing bounds what it costs.
        control_offset: behind the control record that made live what is asked; None where nothing
            follows control.
        told: people's answers that came in the same batch, to other events.
        handed: the rows that wait for a person since.
        odds: what has helped where answers did not pass a checkpoint; None: nobody knows.
    """

    events: Sequence[Ingested]
    features: Features
    step_ids: list[str]
    asked: npt.NDArray[np.bool_]
    expired: int = 0
    choices: Sequence[Selection | None] = ()
    answered: Sequence[Answered] = ()
    tried: Sequence[Answered] = ()
    patience_ms: npt.NDArray[np.int64] | None = None
    understood_ms: npt.NDArray[np.int64] | None = None
    work: Work | None = None
    driver: Driver | None = None
    control_offset: int | None = None
    told: Sequence[StepAnswer] = ()
    handed: set[int] = field(default_factory=set[int])
    payment: Payment | None = None
    odds: Odds | None = None

    @classmethod
    def about(
        cls,
        events: Sequence[Ingested],
        features: Features,
        expired: int = 0,
        deadline_ms: int | None = None,
    ) -> "Question":
        """Ask about every event, each for so long at most."""
        ids = [scoped(event.tenant, event.event_id) for event in events]
        question = cls(events, features, ids, np.ones(len(events), np.bool_), expired)
        if deadline_ms is not None:
            question.patience_ms = np.full(len(events), deadline_ms, np.int64)
        return question


def waiting_key(event: Ingested) -> str:
    """Return the key behind which later events wait: that of the topic the event came on."""
    return scoped(event.tenant, event.scoring_key)


def payload(question: Question, row: int, waits_for: tuple[str, str] | None = None) -> bytes:
    """Write one event of a question and what is known of it; the version is the parked step's.

    Args:
        question: of which one row is parked.
        row: which.
        waits_for: the case that is to be answered, and who is asked; None for a model's answer.
    """
    value = codec.encode_ingested(question.events[row], "").value
    assert value is not None
    body: dict[str, object] = {
        "event": orjson.Fragment(value),
        "features": question.features[row].tolist(),
    }
    choice = question.choices[row] if question.choices else None
    if choice is not None:
        body["selection"] = list(choice)
    if answered := question.work.heard.row(row) if question.work else {}:
        body["answers"] = answered
    if waits_for is not None:
        body["waits_for"] = waits_for
    if tried := question.work.heard.trial_row(row) if question.work else {}:
        body["trials"] = tried
    if question.understood_ms is not None:
        body["understood_ms"] = int(question.understood_ms[row])
    return orjson.dumps(body)


def question_of(steps: Sequence[Step], now_ms: int) -> Question:
    """Ask again about parked steps, each for as long as its deadline leaves.

    Raises:
        StateCorruptError: a payload is none that this release has written.
    """
    events: list[Ingested] = []
    rows: list[list[float]] = []
    choices: list[Selection | None] = []
    answered: list[Answered] = []
    tried: list[Answered] = []
    understood_ms: list[int] = []
    for step in steps:
        event, row, choice, answers, trials, at_ms = _read(step)
        events.append(event)
        rows.append(row)
        choices.append(choice)
        answered.append(answers)
        tried.append(trials)
        # Steps that were parked before it was written down count as understood now.
        understood_ms.append(now_ms if at_ms is None else at_ms)
    ids = [step.id for step in steps]
    asked = np.ones(len(ids), np.bool_)
    features = np.array(rows, np.float64)
    left_ms = np.array([step.deadline_ms - now_ms for step in steps], np.int64)
    return Question(
        events,
        features,
        ids,
        asked,
        choices=choices,
        answered=answered,
        tried=tried,
        patience_ms=left_ms,
        understood_ms=np.array(understood_ms, np.int64),
    )


def _read(
    step: Step,
) -> tuple[Ingested, list[float], Selection | None, Answered, Answered, int | None]:
    try:
        fields = orjson.loads(step.payload)
        value, row = orjson.dumps(fields["event"]), [_number(one) for one in fields["features"]]
        chosen, answered = fields.get("selection"), dict(fields.get("answers", {}))
        tried, at_ms = dict(fields.get("trials", {})), fields.get("understood_ms")
        choice = None if chosen is None else Selection(*chosen)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise StateCorruptError(f"parked step {step.id!r} is damaged: {error}") from error
    read = codec.decode_ingested([Record("", 0, 0, 0, None, value)])
    if read.refused:
        raise StateCorruptError(f"parked step {step.id!r}: {read.refused[0].error}")
    return read.items[0], row, choice, answered, tried, None if at_ms is None else int(at_ms)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
