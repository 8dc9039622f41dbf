"""The conductor: five layers from an ingested event to a decision.

    understand   windows and shares of the scoring key, beside the features that came with the event
    select       which model shall answer (one, here)
    delegate     ask it, once per batch; an event that it takes too long for is parked
    verify       an answer is a finite number from 0 to 1, one per event; else a person decides
    decide       the pipeline's rules, outcome and reasons

A batch goes through it in three steps, so that a lane can understand the next one while a model is
asked: `understand`, `ask`, `conclude`. No event leaves without a decision, and nothing but a
verified score ever approves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from operator import itemgetter
from typing import Final

import numpy as np
import orjson

from batuta.agents.asking import News, Outstanding
from batuta.agents.context import Context
from batuta.agents.identity import scoped
from batuta.agents.judging import SCORE_UNKNOWN, Deciding, Judge, Verified
from batuta.agents.models.answers import answers_of
from batuta.agents.models.port import Model, Scores
from batuta.agents.questions import Answer, Question, question_of, waiting_key
from batuta.agents.reasons import (
    MODEL_ANSWER_INVALID,
    MODEL_FAILED,
    MODEL_LATE,
    Reasons,
)
from batuta.agents.state.parking import Step
from batuta.agents.state.port import Tables
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.layout import Layout
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.share_sets import ShareSet
from batuta.agents.understanding.steps import Surroundings
from batuta.agents.understanding.window_sets import WindowSet
from batuta.agents.waiting import Waiting
from batuta.schemas.decision import Decision
from batuta.schemas.errors import LaterError, OursError, UsageError
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.pipeline import Pipeline

__all__ = ["MEMORY_TAG", "SCORE_UNKNOWN", "Concluded", "Conductor", "ConductorState"]

#: Under which the memories of features stand in the changelog.
MEMORY_TAG: Final = b"m"

NO_NEWS: Final[News[Question, Answer]] = News()


def _unheard(failure: Exception) -> None:
    del failure


@dataclass(frozen=True, slots=True)
class Concluded:
    """What a batch came to.

    Attributes:
        decisions: about its events, and about parked ones that were answered or given up.
        follow_up: what is to be asked next, outside of any batch; None where nothing is.
    """

    decisions: list[Decision]
    follow_up: Question | None = None


class ConductorState(Tables):
    """What scoring remembers: windows and shares of its key, what features keep of each series."""

    def __init__(
        self, windows: WindowSet, shares: ShareSet, memories: MemoryTable | None = None
    ) -> None:
        own = [memories] if memories is not None else []
        layout = Layout({**windows.holds, **shares.holds})
        super().__init__((layout, *windows.tables, *shares.tables, *own))
        self.windows = windows
        self.shares = shares
        self.memories = memories


class Conductor:
    """Decides about ingested events, for one pipeline and one model."""

    def __init__(
        self,
        pipeline: Pipeline,
        model: Model,
        reasons: Reasons,
        deciding: Deciding | None = None,
        report: Callable[[Exception], None] = _unheard,
    ) -> None:
        """Join what the pipeline computes with what the model wants to see.

        Args:
            pipeline: whose events are decided.
            model: who scores them.
            reasons: what the pipeline's features say about a suspicious event.
            deciding: what the compiled pipeline brings beside its windows.
            report: told of every failure of the model, once per batch.

        Raises:
            UsageError: the model wants a feature that the pipeline does not compute.
        """
        self._pipeline = pipeline
        self._model = model
        self._reasons = reasons
        self._report = report
        deciding = deciding or Deciding()
        self._understanding = deciding.understanding
        self._isolation = deciding.isolation
        self._carried = WindowSet(pipeline.ingestion_windows).names
        self._judge = Judge(pipeline.decide, deciding, model.inputs)
        self._refuse_unknown(model)

    def open_state(self) -> ConductorState:
        """Return the empty state of one lane."""
        memories = MemoryTable(MEMORY_TAG) if self._understanding.remembers else None
        shares = ShareSet(self._pipeline.shares)
        return ConductorState(WindowSet(self._pipeline.scoring_windows), shares, memories)

    def understand(
        self, items: Sequence[Ingested | LabelOutcome], context: Context[ConductorState]
    ) -> Question:
        """Return the question that a batch's events are; remember these, and what labels say."""
        shared = context.state.shares.take(items)
        events = [item for item in items if isinstance(item, Ingested)]
        features = self._understand(events, context.state, shared.features)
        question = Question.about(events, features, shared.expired)
        if context.parked.entries():
            question.asked[:] = [not context.parked.blocks(waiting_key(e)) for e in events]
        return question

    async def ask(self, question: Question) -> Answer:
        """Ask the model, or nobody where there is nothing to ask.

        Raises:
            LaterError: the model's outside world failed; the batch may be tried again.
        """
        features = self._judge.told(question.features[question.asked])
        return await self._delegate(self._select(), features) if len(features) else np.empty(0)

    def conclude(
        self,
        question: Question,
        answer: Answer | Outstanding,
        context: Context[ConductorState],
        news: News[Question, Answer] = NO_NEWS,
    ) -> Concluded:
        """Decide what can be decided; park the rest.

        Args:
            question: the batch's own.
            answer: to it, or that it is outstanding.
            context: the lane's world; its parking lot open for this batch.
            news: of questions that earlier batches have asked.
        """
        now_ms = context.now_ms
        waiting = Waiting(context.parked, now_ms, self._pipeline.parking.deadline_ms)
        decisions: list[Decision] = []
        for arrival in news.arrivals:
            rows = waiting.resumed(arrival.question)
            decisions += self._answered(arrival.question, arrival.answer, rows, now_ms)
        decisions += self._unanswered(waiting.expired(), now_ms)
        rows = waiting.admitted(question, answered=not isinstance(answer, str))
        heard = None if isinstance(answer, str) else answer
        decisions += self._answered(question, heard, rows, now_ms)
        to_ask = waiting.to_ask(revived=news.revived)
        decisions += self._unanswered(waiting.given_up, now_ms)
        return Concluded(decisions, question_of(to_ask) if to_ask else None)

    async def decide(
        self, events: Sequence[Ingested], context: Context[ConductorState]
    ) -> list[Decision]:
        """Return one decision per event, in order: a batch by itself, that waits for its model.

        Raises:
            LaterError: the model's outside world failed; the batch may be tried again.
        """
        question = self.understand(events, context)
        return self.conclude(question, await self.ask(question), context).decisions

    def _answered(
        self, question: Question, answer: Answer, rows: Sequence[int], now_ms: int
    ) -> list[Decision]:
        """Decide about the rows of a question that was answered; the answer is to all asked."""
        if not rows:
            return []
        verified = self._verify(answer, int(question.asked.sum()))
        if len(rows) == len(question.events):
            return self._decide(question.events, question.features, verified, now_ms)
        places = (np.cumsum(question.asked) - 1)[list(rows)]
        events = [question.events[row] for row in rows]
        return self._decide(events, question.features[list(rows)], verified.at(places), now_ms)

    def _unanswered(self, steps: Sequence[Step], now_ms: int) -> list[Decision]:
        """Let a person decide about events that no answer came for."""
        if not steps:
            return []
        question = question_of(steps)
        verified = Verified.unusable(len(steps), MODEL_LATE)
        return self._decide(question.events, question.features, verified, now_ms)

    def _understand(
        self, events: Sequence[Ingested], state: ConductorState, shares: Features
    ) -> Features:
        if not events:
            return np.empty((0, len(self._judge.columns)))
        own = state.windows.observe(
            [scoped(event.tenant, event.scoring_key) for event in events],
            np.array([event.event_time_ms for event in events], np.int64),
            [event.data for event in events],
        )
        carried = _matrix([event.features for event in events], self._carried)
        windows = dict(zip(self._carried, carried.T, strict=True))
        windows |= zip(state.windows.names, own.T, strict=True)
        windows |= zip(state.shares.names, shares.T, strict=True)
        around = Surroundings(self._isolation, state.memories)
        understood = self._understanding.complete(events, windows, around)
        return understood.matrix(self._judge.columns)

    def _select(self) -> Model:
        return self._model

    async def _delegate(self, model: Model, features: Features) -> Scores | None:
        """Return the model's answer, or None where it broke: no fault of the events'."""
        try:
            inputs = features[:, : len(model.inputs)].astype(np.float32)
            return answers_of(await model.answer(inputs)).scores
        except (LaterError, OursError):
            raise
        except Exception as failure:  # noqa: BLE001 - a model is anybody's code
            self._report(failure)
            return None

    def _verify(self, answer: Scores | None, rows: int) -> Verified:
        if answer is None:
            return Verified.unusable(rows, MODEL_FAILED)
        if np.shape(answer) != (rows,):
            return Verified.unusable(rows, MODEL_ANSWER_INVALID)
        scores = np.asarray(answer, np.float64)
        usable = (scores >= 0.0) & (scores <= 1.0)  # NaN is neither
        return Verified(np.where(usable, scores, SCORE_UNKNOWN), usable, MODEL_ANSWER_INVALID)

    def _decide(
        self, events: Sequence[Ingested], features: Features, verified: Verified, now_ms: int
    ) -> list[Decision]:
        names, pipeline = self._judge.columns, self._pipeline
        judged = self._judge.judge(events, features, verified)
        decisions: list[Decision] = []
        for event, row, (score, outcome, first, rule) in zip(
            events, features.tolist(), judged, strict=True
        ):
            seen: dict[str, float] = dict(zip(names, row, strict=False))
            more = () if outcome == "approve" else self._reasons.codes_of(seen)
            action = rule.action if rule is not None else None
            decisions.append(
                Decision(
                    event_id=event.event_id,
                    pipeline=pipeline.name,
                    pipeline_version=pipeline.version,
                    tenant=event.tenant,
                    entity=event.entity,
                    event_time_ms=event.event_time_ms,
                    decided_at_ms=now_ms,
                    outcome=outcome,
                    score=score,
                    reasons=(first, *more),
                    model=self._model.version,
                    features=seen,
                    input_sha256=sha256(orjson.dumps(event.data)).hexdigest(),
                    published_ms=event.published_ms,
                    action=action or "",
                    action_version=rule.action_version if rule is not None and action else 0,
                )
            )
        return decisions

    def _refuse_unknown(self, model: Model) -> None:
        computed = (
            *self._carried,
            *WindowSet(self._pipeline.scoring_windows).names,
            *ShareSet(self._pipeline.shares).names,
            *self._understanding.names,
        )
        if missing := [name for name in model.inputs if name not in computed]:
            raise UsageError(
                f"model {model.version} wants {', '.join(missing)}, which pipeline "
                f"{self._pipeline.name} does not compute; it computes {', '.join(computed)}"
            )


def _matrix(rows: list[Mapping[str, float]], names: tuple[str, ...]) -> Features:
    if len(names) <= 1:
        return np.array([[row[name] for name in names] for row in rows], np.float64)
    values = chain.from_iterable(map(itemgetter(*names), rows))
    return np.fromiter(values, np.float64, len(rows) * len(names)).reshape(len(rows), len(names))
