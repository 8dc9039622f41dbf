"""The conductor: five layers from an ingested event to a decision.

    understand   windows and shares of the scoring key, beside the features that came with the event
    select       which plan each event follows
    delegate     ask its models, each once per batch; what takes too long is parked
    verify       an answer is a finite number from 0 to 1 that its checkpoints have passed; else a
                 person decides
    decide       the pipeline's rules, outcome and reasons

A batch goes through it in three steps, so that a lane can understand the next one while models are
asked: `understand`, `ask`, `conclude`. No event leaves without a decision, and nothing but a
verified score ever approves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from batuta.agents.asking import News, Outstanding
from batuta.agents.asking_people import CaseWriter, hear
from batuta.agents.asking_people import late as late_answer
from batuta.agents.budgets.spending import Payment
from batuta.agents.budgets.wallet import Wallet
from batuta.agents.concluded import Concluded, ToldRows, done_of, told_apart
from batuta.agents.conductor_state import MEMORY_TAG, ConductorState
from batuta.agents.context import Context
from batuta.agents.delegation.delegating import Delegating
from batuta.agents.delegation.heard import Heard, Indexes, Told
from batuta.agents.delegation.verifying import Verifier
from batuta.agents.delegation.vetoes import vetoed
from batuta.agents.delegation.work import Driver, InTurn, Work
from batuta.agents.guarded_reasons import GuardedReasons
from batuta.agents.identity import scoped
from batuta.agents.judging import SCORE_UNKNOWN, Deciding, Judge, Verified
from batuta.agents.models.port import AnyModel
from batuta.agents.policy.event_rows import EventRows
from batuta.agents.putting import Delegation, inputs_of
from batuta.agents.questions import Answer, Question, question_of, waiting_key
from batuta.agents.reasons import (
    MODEL_ANSWER_INVALID,
    MODEL_FAILED,
    MODEL_LATE,
    PERSON_LATE,
    Reasons,
)
from batuta.agents.recording import Recorder
from batuta.agents.selection.understood import explained, give_answers
from batuta.agents.state.parking import Step
from batuta.agents.understanding.features import Features
from batuta.agents.understanding.memories import MemoryTable
from batuta.agents.understanding.share_sets import ShareSet
from batuta.agents.understanding.steps import Surroundings
from batuta.agents.understanding.window_sets import WindowSet, carried_matrix
from batuta.agents.waiting import Waiting
from batuta.schemas.decision import Selection
from batuta.schemas.decision_columns import DecisionColumns
from batuta.schemas.errors import UsageError
from batuta.schemas.ingested import Ingested
from batuta.schemas.labels import LabelOutcome
from batuta.schemas.pipeline import Pipeline
from batuta.schemas.review import StepAnswer

__all__ = ["SCORE_UNKNOWN", "Concluded", "Conductor"]

NO_NEWS: Final[News[Question, Answer]] = News()


def _unheard(failure: Exception) -> None:
    del failure


class Conductor:
    """Decides about ingested events, for one pipeline and its models."""

    def __init__(
        self,
        pipeline: Pipeline,
        models: AnyModel | Mapping[str, AnyModel],
        reasons: Reasons,
        deciding: Deciding | None = None,
        report: Callable[[Exception], None] = _unheard,
    ) -> None:
        """Join what the pipeline computes with what its models want to see.

        Args:
            pipeline: whose events are decided.
            models: by name; or the one that answers whatever the plans say.
            reasons: what the pipeline's features say about a suspicious event.
            deciding: what the compiled pipeline brings beside its windows.
            report: told of every failure of a model, once per batch.

        Raises:
            UsageError: a model wants a feature that the pipeline does not compute.
        """
        self._pipeline = pipeline
        self._report = report
        deciding = deciding or Deciding()
        if not isinstance(models, Mapping):
            deciding = replace(deciding, delegating=Delegating.to(models.name))
            models = {models.name: models}
        assert deciding.delegating is not None, "several models, and no plan says who is asked"
        self._understanding = deciding.understanding
        self._isolation = deciding.isolation
        self._carried = WindowSet(pipeline.ingestion_windows).names
        self._judge = Judge(pipeline.decide, deciding, inputs_of(models.values()))
        self._refuse_unknown(models)
        self._delegation = Delegation(deciding.delegating, models, self._judge.columns)
        why = GuardedReasons(reasons, deciding.isolation)
        self._recorder = Recorder(pipeline, self._judge, self._delegation, why)
        self.driver: Driver = InTurn(models, report)
        #: The models that would not be asked now, whatever a plan says.
        self.refusing: Callable[[], frozenset[str]] = frozenset
        #: Behind the control record that made these models live; None where none is followed.
        self.control_offset: int | None = None

    def open_state(self) -> ConductorState:
        """Return the empty state of one lane."""
        memories = MemoryTable(MEMORY_TAG) if self._understanding.remembers else None
        shares = ShareSet(self._pipeline.shares)
        spending = self._delegation.spending
        wallet = Wallet(spending) if spending is not None else None
        return ConductorState(WindowSet(self._pipeline.scoring_windows), shares, memories, wallet)

    def understand(
        self,
        items: Sequence[Ingested | LabelOutcome | StepAnswer],
        context: Context[ConductorState],
    ) -> Question:
        """Return the question that a batch's events are; remember these, and what labels say."""
        if self.control_offset is not None:
            context.state.control.reach(self.control_offset)
        told, others = told_apart(items, asks_people=bool(self._delegation.people))
        shared = context.state.shares.take(others)
        events = [item for item in others if isinstance(item, Ingested)]
        features = self._understand(events, context.state, shared.features)
        payment = None if (wallet := context.state.wallet) is None else wallet.payment(events)
        question = Question.about(events, features, shared.expired, self._patience_ms(payment))
        question.payment = payment
        question.odds = context.state.success.odds_at(context.now_ms)
        question.choices, question.told = self._select(question), told
        question.understood_ms = np.full(len(events), context.now_ms, np.int64)
        if context.parked.entries():
            question.asked[:] = [not context.parked.blocks(waiting_key(e)) for e in events]
        return question

    async def ask(self, question: Question) -> Answer:
        """Ask models, or nobody where there is nothing to ask.

        Args:
            question: about which events; one that was asked before goes on.

        Raises:
            LaterError: a model's outside world failed; the batch may be tried again.
        """
        if question.work is None:
            if None in question.choices and self._delegation.understood_by is None:
                question.choices = self._select(question)
            question.work = self._begun(question)
        # Who began it finishes it: models may have moved on to other versions since.
        await (question.driver or self.driver).drive(question.work)
        return question.work

    def _begun(self, question: Question) -> Work:
        question.driver, question.control_offset = self.driver, self.control_offset
        return self._work(question)

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
            answer: to it, or that it is outstanding: what is known of it so far counts.
            context: the lane's world; its parking lot open for this batch.
            news: of questions that earlier batches have asked.
        """
        now_ms = context.now_ms
        patience_ms = self._patience_ms(question.payment)
        wallet = context.state.wallet
        waiting = Waiting(context.parked, now_ms, patience_ms, self._delegation.people, wallet)
        parts: list[DecisionColumns] = []
        unfinished: list[Question] = []
        for arrival in news.arrivals:
            asked, done = arrival.question, done_of(arrival.question, arrival.answer)
            waiting.hand_over(asked)
            rows = waiting.resumed(asked, done)
            parts.append(self._answered(asked, arrival.answer, rows, now_ms))
            if waiting.waits(asked, asked.asked & ~done):
                unfinished.append(asked)
        overdue = waiting.expired()
        parts.append(self._unanswered([s for s in overdue if s.kind == "model"], now_ms))
        resumed = waiting.answered(question.told)
        late = [(step, late_answer(step)) for step in overdue if step.kind == "human"]
        parts.append(self._gone_on(waiting, [*resumed, *late], now_ms))
        outstanding = isinstance(answer, str)
        heard = question.work if isinstance(answer, str) else answer
        none = np.zeros(len(question.events), np.bool_)
        done = none if outstanding and heard is None else done_of(question, heard)
        parts.append(self._answered(question, heard, waiting.admitted(question, done), now_ms))
        if not outstanding and waiting.waits(question, question.asked & ~done):
            unfinished.append(question)
        to_ask = waiting.to_ask(revived=news.revived)
        for people, why in ((False, MODEL_LATE), (True, PERSON_LATE)):
            given_up = [one for one in waiting.given_up if (one.kind == "human") is people]
            parts.append(self._unanswered(given_up, now_ms, why))
        if to_ask:
            unfinished.append(again := question_of(to_ask, now_ms))
            again.payment = None if wallet is None else wallet.payment(again.events)
            again.odds = context.state.success.odds_at(now_ms)
        cases = CaseWriter(self._pipeline, self._judge.columns, context.partition, now_ms)
        opened = tuple(cases.write(*one) for one in waiting.asked)
        ignored = len(question.told) - len(resumed)
        decisions = DecisionColumns.joined(parts)
        corrected = [row for row, tried in enumerate(decisions.corrections) if tried]
        context.state.success.take([decisions[row] for row in corrected])
        return Concluded(decisions, tuple(unfinished), opened, len(resumed), ignored)

    def _answered(
        self, question: Question, answer: Answer, rows: Sequence[int], now_ms: int
    ) -> DecisionColumns:
        """Decide about the rows of a question that are answered."""
        if not rows:
            return DecisionColumns.of(())
        if answer is None:
            self._settle(question)
            verified = Verified.unusable(len(question.events), MODEL_FAILED)
        else:
            verified = self._verify(answer).aged(self._delegation.stale(question, now_ms))
        chosen = np.array(rows, np.intp)
        if len(rows) < len(question.events):
            verified = verified.at(chosen)
        return self._recorder.record(ToldRows(question, chosen), verified, now_ms)

    def _gone_on(
        self, waiting: Waiting, told: Sequence[tuple[Step, StepAnswer]], now_ms: int
    ) -> DecisionColumns:
        """Let steps go on with what people said; decide about those that are through."""
        if not told:
            return DecisionColumns.of(())
        question = question_of([step for step, _ in told], now_ms)
        question.work = self._begun(question)
        for row, (_, answer) in enumerate(told):
            hear(question.work.heard, row, answer, self._delegation.terms_of(answer.asked))
        question.work.look()
        done = question.work.reached.done
        waiting.going_on(question, ~done)
        return self._answered(question, question.work, np.flatnonzero(done).tolist(), now_ms)

    def _unanswered(
        self, steps: Sequence[Step], now_ms: int, reason: str = MODEL_LATE
    ) -> DecisionColumns:
        """Let a person decide about events that no answer came for."""
        if not steps:
            return DecisionColumns.of(())
        question = question_of(steps, now_ms)
        question.work = self._begun(question)
        self._settle(question)
        self._delegation.recall(question.work)
        verified = Verified.unusable(len(steps), reason)
        return self._recorder.record(ToldRows(question, np.arange(len(steps))), verified, now_ms)

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
        carried = carried_matrix([event.features for event in events], self._carried)
        windows = dict(zip(self._carried, carried.T, strict=True))
        windows |= zip(state.windows.names, own.T, strict=True)
        windows |= zip(state.shares.names, shares.T, strict=True)
        around = Surroundings(self._isolation, state.memories)
        understood = self._understanding.complete(events, windows, around)
        return understood.matrix(self._judge.columns)

    def _patience_ms(self, payment: Payment | None) -> int:
        """Return how long an event may take: longer where its budget's window has to turn."""
        deadline_ms = self._pipeline.parking.deadline_ms
        return deadline_ms if payment is None else deadline_ms + payment.patience_ms()

    def _select(self, question: Question) -> Sequence[Selection | None]:
        """Return which plan each event follows; None where a model is asked first."""
        if self._delegation.understood_by is not None:
            return [None] * len(question.events)
        chooser, events, features = self._delegation.chooser, question.events, question.features
        rows = self._judge.rows(events, features) if chooser.names else EventRows(events, {})
        return self._allowed(question, chooser.choose(events, rows))

    def _allowed(
        self, question: Question, choices: Sequence[Selection], at: Indexes | None = None
    ) -> Sequence[Selection]:
        """Return choices, or what budgets and breakers leave of them; `at`: the rows, None: all."""
        if question.payment is not None:
            choices = question.payment.cheaper(choices, at)
        refusing = self.refusing()
        return vetoed(choices, self._delegation.plans, refusing) if refusing else choices

    def _understood(
        self, question: Question, heard: Heard | None, at: Indexes
    ) -> Sequence[Selection]:
        """Choose the plans of some rows by what was heard of the model that understands them."""
        model = self._delegation.understood_by
        assert model is not None, "nobody is asked first"
        told = Told.nothing(len(question.events), "") if heard is None else heard.of(model)
        events = [question.events[row] for row in at.tolist()]
        rows = self._judge.rows(events, question.features[at])
        give_answers(rows, model, told, at)
        return explained(self._delegation.chooser.choose(events, rows), model, told, at)

    def _settle(self, question: Question) -> None:
        """Choose the plans of events that time ran out for before they were understood."""
        if None in question.choices and self._delegation.understood_by is not None:
            made = self._understood(question, None, np.arange(len(question.events)))
            known = zip(question.choices, made, strict=True)
            question.choices = [before or now for before, now in known]

    def _work(self, question: Question) -> Work:
        shown = self._judge.told(question.features)

        def rows_of(rows: Indexes) -> EventRows:
            events = [question.events[row] for row in rows.tolist()]
            return self._judge.rows(events, question.features[rows])

        def choose(heard: Heard, at: Indexes) -> Sequence[Selection]:
            return self._allowed(question, self._understood(question, heard, at), at)

        verifier = Verifier(question.events, shown, rows_of, self._isolation, question.odds)
        return self._delegation.work(question, shown, verifier, choose)

    def _verify(self, work: Work) -> Verified:
        reached = work.reached
        taint = reached.taint
        if reached.usable.all():
            return Verified(reached.scores, reached.usable, MODEL_ANSWER_INVALID, taint=taint)
        refused = work.heard.refusals()
        known = reached.usable.copy()
        # What a person reads of an answer that was refused is what was answered.
        asked = reached.scores[list(refused)]
        known[list(refused)] |= (asked >= 0.0) & (asked <= 1.0)
        scores = np.where(known, reached.scores, SCORE_UNKNOWN)
        broke = ~reached.usable & work.heard.broke()
        late = ~reached.usable & work.heard.late()
        paid = work.asking.payment is not None
        unpaid = ~reached.usable & work.heard.failed_by("budget_spent") if paid else None
        return Verified(
            scores, reached.usable, MODEL_ANSWER_INVALID, broke, late, refused, taint, unpaid
        )

    def _refuse_unknown(self, models: Mapping[str, AnyModel]) -> None:
        computed = (
            *self._carried,
            *WindowSet(self._pipeline.scoring_windows).names,
            *ShareSet(self._pipeline.shares).names,
            *self._understanding.names,
        )
        for model in models.values():
            if missing := [name for name in inputs_of((model,)) if name not in computed]:
                raise UsageError(
                    f"model {model.version} wants {', '.join(missing)}, which pipeline "
                    f"{self._pipeline.name} does not compute; it computes {', '.join(computed)}"
                )
